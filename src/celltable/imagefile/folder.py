"""Read a folder of loose files and the archives in it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from celltable.errors import ArchiveError, CelltableError

from .container import MAX_MEMBER_BYTES, MAX_PIXELS, Container, is_archive, litter_kind
from .masks import MaskBatch, from_native


class Folder(Container):
    """Loose files below a folder; `archives` are listed separately."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}
        self.archives: list[str] = []
        junk: Counter[str] = Counter()
        for name, size in _walk(path):
            litter = litter_kind(name)
            if litter is not None:
                junk[litter] += 1
            elif is_archive(name):
                self.archives.append(name)
            else:
                self.sizes[name] = size
        self.ignored = dict(junk)

    def read(self, name: str) -> bytes:
        if self.sizes[self.checked(name)] > MAX_MEMBER_BYTES:
            raise ArchiveError(f"{name} has {self.sizes[name]:,} bytes; at most {MAX_MEMBER_BYTES:,} are read.")
        with _named(name):
            return (self.path / name).read_bytes()

    def head(self, name: str, n: int) -> bytes:
        with _named(name), (self.path / self.checked(name)).open("rb") as file:
            return file.read(n)

    def span(self, name: str) -> tuple[Path, int]:
        return self.path / self.checked(name), 0

    def extract(self, name: str) -> tuple[Path, int]:
        return self.span(name)

    def masks(self, names: Sequence[str], workers: int) -> MaskBatch:
        from celltable._native import codec

        paths = [os.fsencode(self.path / self.checked(name)) for name in names]
        return from_native(codec.masks_of_files(paths, workers, MAX_PIXELS), names)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Treat a missing or unreadable file as damage to that item, as in an archive."""
    try:
        yield
    except OSError as exc:
        raise ArchiveError(f"{name}: cannot be read ({exc.strerror}).") from exc


def open_folder(root: Path) -> dict[str, Container]:
    """Open the loose files of a folder (key ``""``) and each archive in it (key: its path in the folder)."""
    from .archive import open_archive

    loose = Folder(root)
    containers: dict[str, Container] = {}
    if loose.sizes or not loose.archives:
        containers[""] = loose
    try:
        for name in sorted(loose.archives):
            containers[name] = open_archive(root / name)
    except CelltableError:
        for container in containers.values():
            container.close()
        raise
    return containers


def _walk(root: Path) -> Iterator[tuple[str, int]]:
    """Yield (POSIX path, size) of every file, following links but entering each folder only once."""
    seen: set[tuple[int, int]] = set()
    pending = [""]
    while pending:
        folder = pending.pop()
        stat = os.stat(root / folder)
        if (stat.st_dev, stat.st_ino) in seen:
            continue
        seen.add((stat.st_dev, stat.st_ino))
        with os.scandir(root / folder) as items:
            for item in items:
                name = f"{folder}{item.name}"
                if item.is_dir():
                    if item.name not in (".git", ".svn"):
                        pending.append(f"{name}/")
                elif item.is_file():
                    yield name, item.stat().st_size
