"""Open a published release as downloaded (folder, zip, tar, or a folder of those) as one sorted list of members."""

from __future__ import annotations

import hashlib
import re
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from celltable import work
from celltable.errors import ArchiveError, NotFoundError, ReleaseError

from .container import Container, stem
from .masks import MaskBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .pixels import ImageInfo

Progress = Callable[[int], None]
_BLOCK: Final = 1 << 20
_HASHED_WHOLE: Final = 1 << 28
_SAMPLED_BLOCKS: Final = 64
MAX_READ_BYTES: Final = 1 << 31  # 2 GiB: an image of MAX_PIXELS in four 16-bit channels; larger files are mapped


class Entry(NamedTuple):
    """A member of a release: the key of its source, its POSIX path there and its size in bytes."""

    source: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Source:
    """An archive of a release, or (key ``""``) its folder of loose files; `size` in bytes."""

    key: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class ReleaseReference(work.Reference["Release"]):
    """Reference to a release by path; `sources` holds the key and size in bytes of each source, to verify it there."""

    path: str
    sources: tuple[tuple[str, int], ...]

    def open(self) -> Release:
        """Open the release in this process; it is closed when nothing uses it any longer."""
        if not Path(self.path).exists():
            raise ReleaseError(
                f"{work.this_machine()} cannot see {self.path}; every worker needs the release at the same path, "
                "on a shared disk or as a copy."
            )
        release = open_release(self.path)
        weakref.finalize(release, _close, tuple(release._containers.values()))
        if release.reference.sources != self.sources:
            raise ReleaseError(
                f"{self.path} differs on {work.this_machine()} from where the work began: its files have other names "
                "or sizes. Run the command again once the release no longer changes."
            )
        return release


def _close(containers: Iterable[Container]) -> None:
    for container in containers:
        container.close()


class Release:
    """An opened release; made by `open_release`. A context manager, safe to read from several threads.

    It pickles as a `ReleaseReference`, so that another process opens it once, at the same path.

    Attributes
    ----------
    path, top
        The path that was opened, and its name without an archive suffix.
    sources
        The archives, and the folder with key ``""`` if there are loose files, sorted by key.
    ignored
        Number of members left out, by kind of litter.
    """

    def __init__(self, path: Path, containers: dict[str, Container]) -> None:
        self.path = path
        self.top = stem(path.resolve().name)
        self._containers = containers
        self.sources = tuple(Source(key, containers[key].path, _size(containers[key])) for key in sorted(containers))
        junk: Counter[str] = Counter()
        for container in containers.values():
            junk.update(container.ignored)
        self.ignored: dict[str, int] = dict(sorted(junk.items()))
        self._cut_short: dict[Entry, str] = {}

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """All members of all sources, sorted by source and name, without operating-system litter."""
        sizes = {key: self._containers[key].sizes for key in sorted(self._containers)}
        return tuple(Entry(key, name, sizes[key][name]) for key in sizes for name in sorted(sizes[key]))

    def __enter__(self) -> Release:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def reference(self) -> ReleaseReference:
        """Reference by which another process opens this release."""
        return ReleaseReference(str(self.path.resolve()), tuple((s.key, s.size) for s in self.sources))

    def __reduce__(self) -> tuple[Any, ...]:
        return work.opened, (self.reference,)

    def __repr__(self) -> str:
        return f"<Release {self.path.name}: {len(self.entries):,} members in {len(self.sources)} sources>"

    def close(self) -> None:
        """Close files and remove temporary ones."""
        _close(self._containers.values())

    def match(self, pattern: re.Pattern[str] | str) -> list[tuple[Entry, re.Match[str]]]:
        """Return the members whose path ends with a match of the pattern, in the order of `entries`.

        The path starts with the name of the opened folder or archive (without suffix), so that a pattern with the top
        folder also matches in ``stage1_train.zip`` without one, in a folder passed one level too high or too low, and
        in a doubled ``X/X/``. The pattern must match whole path components up to the end; if several tails match, the
        longest counts.
        """
        tail = _tail(pattern if isinstance(pattern, str) else pattern.pattern, _flags(pattern))
        prefixes = {key: self._prefix(key) for key in self._containers}
        hits = []
        for entry in self.entries:
            hit = tail.fullmatch(prefixes[entry[0]] + entry[1])
            if hit is not None:
                hits.append((entry, hit))
        return hits

    def _prefix(self, key: str) -> str:
        return f"{self.top}/" if self._containers[key].path == self.path else f"{self.top}/{_joined(key)}"

    def entry(self, source: str, name: str) -> Entry:
        """Return a member by its source and name.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        container = self._container(source)
        return Entry(source, name, container.sizes[container.checked(name)])

    def has(self, source: str, name: str) -> bool:
        """Whether a source has a member of this name."""
        return name in self._container(source).sizes

    def read(self, entry: Entry) -> bytes:
        """Read all bytes of a member and verify its checksum.

        Raises
        ------
        ArchiveError
            If the member is damaged, encrypted, a decompression bomb or too large for memory; the message names it.
        """
        if entry.size > MAX_READ_BYTES:
            raise ArchiveError(
                f"{entry.name} unpacks to {entry.size:,} bytes; expected {MAX_READ_BYTES:,} or less. "
                "It is damaged or a decompression bomb."
            )
        return self._container(entry.source).read(entry.name)

    def head(self, entry: Entry, n: int) -> bytes:
        """Read up to the first `n` bytes of a member, unverified."""
        return self._container(entry.source).head(entry.name, n)

    def extract(self, entry: Entry) -> Path:
        """Return a file that holds only the member: the original, or a temporary copy that exists until `close`."""
        path, offset = self._container(entry.source).extract(entry.name)
        if offset == 0 and path.stat().st_size == entry.size:
            return path
        return self._container(entry.source).copied(entry.name)

    def memmap(self, entry: Entry) -> NDArray[Any]:
        """Map an .npy member read-only; a compressed one is unpacked to a temporary file first.

        Raises
        ------
        ImageFileError
            If it is not an .npy file, or holds pickled objects, which are never loaded.
        """
        from .npy import mapped

        path, offset = self._container(entry.source).extract(entry.name)
        return mapped(path, offset, entry.size, entry.name)

    def read_masks(self, entries: Iterable[Entry], workers: int = 1) -> MaskBatch:
        """Decode single-object mask PNGs into compressed COCO run lengths on `workers` threads."""
        from .masks import gather

        return gather([(self._container(e.source), e.name) for e in entries], workers)

    def read_pixels(self, entry: Entry, index: int | None = None) -> NDArray[Any]:
        """Read the pixels of a member: (row, column) or (row, column, channel), with its bit depth and channels.

        `index` selects a row of an .npy or a page of a TIFF.
        """
        from .pixels import read_pixels

        if index is not None and entry.name.lower().endswith(".npy"):
            from .npy import row

            return row(self.memmap(entry), index, entry.name)
        return read_pixels(self.read(entry), entry.name, index)

    def image_info(self, entry: Entry) -> ImageInfo:
        """Read size, channels and type of an image member from its header."""
        from .pixels import HEADER_BYTES, image_info, needs_more

        data = self.head(entry, HEADER_BYTES)
        if needs_more(data):
            data = data if entry.size <= len(data) else self.read(entry)
            self._cut_short[entry] = _cut_short(data)
        return image_info(data, entry.name)

    def cut_short(self, entry: Entry) -> str:
        """Say how an image member is truncated; empty if it is complete. The pixels are not decoded.

        The end of PNG and JPEG files and the header of bitmaps are examined; for a TIFF, the position of every strip is
        compared with the file size (nothing is read again after `image_info`). PNG and JPEG files that are compressed
        in an archive are not examined, because they would have to be unpacked.

        Raises
        ------
        ArchiveError
            If the member cannot be read.
        """
        if entry not in self._cut_short:
            self._cut_short[entry] = self._looked_at(entry)
        return self._cut_short[entry]

    def _looked_at(self, entry: Entry) -> str:
        from .cut import BITMAP_HEADER_BYTES, END, TAIL_BYTES, bitmap_cut_short
        from .pixels import format_of

        tail = self._container(entry.source).tail(entry.name, TAIL_BYTES)
        if tail is None and entry.name.lower().endswith((".png", ".jpg", ".jpeg")):
            return ""
        head = self.head(entry, BITMAP_HEADER_BYTES)
        kind = format_of(head)
        if kind in ("bmp", "dib"):
            return bitmap_cut_short(head, entry.size)
        if kind in END and (tail is None or (END[kind] in tail and entry.size > TAIL_BYTES)):
            return ""
        return _cut_short(self.read(entry)) if kind in (*END, "tiff") else ""

    def hash_sources(self, progress: Progress | None = None) -> dict[str, str]:
        """Compute the SHA-256 of each source by key; for the folder, that of its list of names, sizes and SHA-256.

        For loose files over 256 MiB (unpacked arrays), 64 MiB spread over the file are hashed, which is enough to
        notice another file; they have no published checksum to compare with. Archives are always hashed whole.

        `progress` is called with the number of bytes read since its last call.
        """
        return {source.key: self._hash(source, progress) for source in self.sources}

    def _hash(self, source: Source, progress: Progress | None) -> str:
        if source.path.is_file():
            return _sha256(source.path, progress)
        manifest = hashlib.sha256()
        for name, size in sorted(self._containers[source.key].sizes.items()):
            digest = _sha256(source.path / name, progress, whole=size <= _HASHED_WHOLE)
            manifest.update(f"{name}\0{size}\0{digest}\n".encode("utf-8", "surrogateescape"))
        return manifest.hexdigest()

    def _container(self, key: str) -> Container:
        try:
            return self._containers[key]
        except KeyError:
            raise NotFoundError(f"{self.path.name} has no source '{key}'; it has {sorted(self._containers)}.") from None


def open_release(path: str | Path) -> Release:
    """Open a release as downloaded: a folder, a zip, a tar (also .tgz, .tar.gz, .bz2, .xz), or a folder of archives.

    Raises
    ------
    NotFoundError
        If the path does not exist.
    ReleaseError
        If the folder is empty, or the file is not an archive.
    ArchiveError
        If an archive is damaged or unsafe.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "a.csv").write_text("x")
    ...     with open_release(folder) as release:
    ...         release.entries
    (Entry(source='', name='a.csv', size=1),)
    """
    from .archive import open_archive
    from .folder import open_folder

    root = Path(path).expanduser()
    if not root.exists():
        raise NotFoundError(f"{root} does not exist; expected a release: the archive as downloaded, or its folder.")
    containers = {root.name: open_archive(root)} if root.is_file() else open_folder(root)
    if not any(c.sizes for c in containers.values()):
        for container in containers.values():
            container.close()
        what = "archive" if root.is_file() else "folder"
        raise ReleaseError(f"{root} is an empty {what}; expected a release: its archives as downloaded, or its files.")
    return Release(root, containers)


def _cut_short(data: bytes) -> str:
    from .cut import cut_short
    from .pixels import format_of

    return cut_short(data, format_of(data) or "")


@lru_cache(maxsize=256)
def _tail(pattern: str, flags: int) -> re.Pattern[str]:
    return re.compile(rf"(?:.*?/)??(?:{pattern})", flags)


def _flags(pattern: re.Pattern[str] | str) -> int:
    return 0 if isinstance(pattern, str) else pattern.flags & ~re.UNICODE


def _joined(key: str) -> str:
    if key == "":
        return ""
    folder, _, name = key.rpartition("/")
    return f"{folder}/{stem(name)}/" if folder else f"{stem(name)}/"


def _size(container: Container) -> int:
    return container.path.stat().st_size if container.path.is_file() else sum(container.sizes.values())


def _sha256(path: Path, progress: Progress | None, *, whole: bool = True) -> str:
    digest = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb") as file:
        for at in _every_block(size) if whole else _some_blocks(size):
            file.seek(at)
            block = file.read(_BLOCK)
            digest.update(block)
            if progress is not None:
                progress(len(block) if whole else size // _SAMPLED_BLOCKS)
    return digest.hexdigest()


def _every_block(size: int) -> range:
    return range(0, size, _BLOCK)


def _some_blocks(size: int) -> list[int]:
    """Return the first block, the last, and others evenly spaced between them."""
    return [k * (size - _BLOCK) // (_SAMPLED_BLOCKS - 1) for k in range(_SAMPLED_BLOCKS)]
