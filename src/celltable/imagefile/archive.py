"""Read zip and tar archives natively: list members once, refuse unsafe archives, verify what is read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
import zlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

from celltable.errors import ArchiveError

from .container import MAX_MEMBER_BYTES, MAX_MEMBERS, MAX_PIXELS, MAX_RATIO, Container, litter_kind, safe_name
from .masks import MaskBatch, from_native

_ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_UNPACK: Final[tuple[tuple[bytes, Callable[[Path], Any]], ...]] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
)
_BLOCK: Final = 1 << 20


def open_archive(path: Path) -> Container:
    """Open a zip or tar, recognised by its content.

    Raises
    ------
    ArchiveError
        If it is neither, is damaged, or holds an unsafe member.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if head[:4] in _ZIP_MAGIC:
        return Zip(path)
    for magic, opener in _UNPACK:
        if head.startswith(magic):
            return Tar(path, opener)
    if head[257:262] == b"ustar" or tarfile.is_tarfile(path):
        return Tar(path, None)
    if zipfile.is_zipfile(path):  # after other bytes, as in a self-extracting archive
        return Zip(path)
    seen = "an empty file" if not head else f"a file that begins with {head[:4].hex(' ')}"
    raise ArchiveError(f"{path}: expected a zip or tar, found {seen}; is the download complete?")


class Archive(Container):
    """Base of zip and tar: lists members under safety rules and keeps temporary copies of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes = {}
        self.ignored = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._copies: dict[str, Path] = {}
        self._lock = threading.Lock()

    def folder(self) -> Path:
        """The temporary folder of this archive, created when first needed."""
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="celltable-")
        return Path(self._temporary.name)

    def extract(self, name: str) -> tuple[Path, int]:
        return self.span(name) or (self.copied(name), 0)

    def copied(self, name: str) -> Path:
        with self._lock:
            if name not in self._copies:
                path = self.folder() / f"{len(self._copies)}-{os.path.basename(name)}"
                self.write(self.checked(name), path)
                self._copies[name] = path
            return self._copies[name]

    @abstractmethod
    def write(self, name: str, path: Path) -> None:
        """Unpack one member into a new file."""

    def close(self) -> None:
        with self._lock:
            self._copies.clear()
            if self._temporary is not None:
                self._temporary.cleanup()
                self._temporary = None


class Zip(Archive):
    """A zip whose central directory is parsed natively and whose members are verified by CRC-32 when read."""

    def __init__(self, path: Path) -> None:
        from celltable._native import codec

        super().__init__(path)
        try:
            self._zip = codec.Zip(os.fsencode(path), MAX_RATIO, MAX_MEMBER_BYTES, MAX_MEMBERS)
        except ValueError as exc:
            raise ArchiveError(f"{path}: {exc}") from exc
        names, sizes, suspects, links = self._zip.listing()
        if links:
            raise ArchiveError(f"{path.name}: member {names[links[0]]!r} is a symbolic link; the archive is refused.")
        self._number = dict(zip(names, range(len(names)), strict=True))
        self.sizes = dict(zip(names, sizes, strict=True))
        if len(self._number) < len(names):
            self._refuse_differing(names)
        self._tidy(names, sizes, suspects)

    def _refuse_differing(self, names: list[str]) -> None:
        """Refuse members that share a name unless they hold the same bytes."""
        for i, name in enumerate(names):
            if self._zip.fingerprint(i) != self._zip.fingerprint(self._number[name]):
                raise ArchiveError(f"{self.path.name}: two members are called {name!r}; the archive is refused.")

    def _tidy(self, names: list[str], sizes: list[int], suspects: list[int]) -> None:
        """Drop folders and litter, normalise harmless spellings, refuse the rest; only suspect names are examined."""
        junk: Counter[str] = Counter()
        for i in suspects:
            name, number = names[i], i
            if self._number.get(name) == i:
                del self._number[name], self.sizes[name]
            clean = safe_name(name, self.path)
            litter = litter_kind(clean)
            if litter is not None:
                junk[litter] += 1
            elif not name.endswith(("/", "\\")):
                if clean in self._number:
                    raise ArchiveError(f"{self.path.name}: member {clean!r} occurs twice; the archive is refused.")
                self._number[clean], self.sizes[clean] = number, sizes[i]
        self.ignored = dict(junk)

    def read(self, name: str) -> bytes:
        number = self._number[self.checked(name)]
        try:
            data: bytes = self._zip.read(number)
        except ValueError as exc:
            raise ArchiveError(f"{name} in {self.path.name}: {exc}") from exc
        return data

    def head(self, name: str, n: int) -> bytes:
        try:
            data: bytes = self._zip.head(self._number[self.checked(name)], n)
        except ValueError as exc:
            raise ArchiveError(f"{name} in {self.path.name}: {exc}") from exc
        return data

    def span(self, name: str) -> tuple[Path, int] | None:
        try:
            offset = self._zip.stored_offset(self._number[self.checked(name)])
        except ValueError as exc:
            raise ArchiveError(f"{name} in {self.path.name}: {exc}") from exc
        return None if offset < 0 else (self.path, offset)

    def write(self, name: str, path: Path) -> None:
        try:
            self._zip.extract(self._number[name], os.fsencode(path))
        except ValueError as exc:
            raise ArchiveError(f"{name} in {self.path.name}: {exc}") from exc

    def masks(self, names: Sequence[str], workers: int) -> MaskBatch:
        numbers = [self._number[self.checked(name)] for name in names]
        return from_native(self._zip.masks(numbers, workers, MAX_PIXELS), names)

    def close(self) -> None:
        super().close()
        self._zip.close()


class Tar(Archive):
    """A tar; a compressed one is unpacked once into a temporary plain tar, so that members can be read in any order."""

    def __init__(self, path: Path, opener: Callable[[Path], Any] | None) -> None:
        super().__init__(path)
        self._offsets: dict[str, int] = {}
        self._plain = path
        try:
            if opener is not None:
                self._plain = self.folder() / "plain.tar"
                _unpack(path, opener, self._plain)
            self._list()
        except BaseException:
            super().close()
            raise
        self._file = os.open(self._plain, os.O_RDONLY)

    def _list(self) -> None:
        junk: Counter[str] = Counter()
        end = self._plain.stat().st_size
        try:
            with tarfile.open(self._plain, "r:") as tar:
                for member in tar:
                    self._add(member, end, junk)
        except (tarfile.TarError, EOFError) as exc:
            raise ArchiveError(f"{self.path}: the tar is damaged or cut short ({exc}); download it again.") from exc
        self.ignored = dict(junk)

    def _add(self, member: tarfile.TarInfo, end: int, junk: Counter[str]) -> None:
        if member.isdir() and member.name in ("", ".", "./"):
            return
        name = safe_name(member.name, self.path)
        if member.issym() or member.islnk():
            raise ArchiveError(f"{self.path.name}: member {name!r} is a link; the archive is refused.")
        if member.isdir():
            return
        if not member.isreg() or member.issparse():
            raise ArchiveError(f"{self.path.name}: member {name!r} is not an ordinary file; the archive is refused.")
        if member.offset_data + member.size > end:
            raise ArchiveError(f"{self.path}: the tar ends within {name!r}; it is cut short, download it again.")
        litter = litter_kind(name)
        if litter is not None:
            junk[litter] += 1
        else:
            self.sizes[name], self._offsets[name] = member.size, member.offset_data

    def read(self, name: str) -> bytes:
        return self.head(name, self.sizes[self.checked(name)])

    def head(self, name: str, n: int) -> bytes:
        size = min(n, self.sizes[self.checked(name)])
        parts, at = [], self._offsets[name]
        while size:
            part = os.pread(self._file, min(size, 1 << 30), at)
            if not part:
                raise ArchiveError(f"{name} in {self.path.name}: the tar ends within it.")
            parts.append(part)
            at, size = at + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def span(self, name: str) -> tuple[Path, int]:
        return self._plain, self._offsets[self.checked(name)]

    def write(self, name: str, path: Path) -> None:
        with self._plain.open("rb") as source, path.open("wb") as target:
            source.seek(self._offsets[name])
            left = self.sizes[name]
            while left:
                block = source.read(min(_BLOCK, left))
                target.write(block)
                left -= len(block)

    def masks(self, names: Sequence[str], workers: int) -> MaskBatch:
        from celltable._native import codec

        at = [(self._offsets[self.checked(name)], self.sizes[name]) for name in names]
        return from_native(codec.masks_of_spans(os.fsencode(self._plain), at, workers, MAX_PIXELS), names)

    def close(self) -> None:
        super().close()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _unpack(path: Path, opener: Callable[[Path], IO[bytes]], target: Path) -> None:
    """Decompress into a plain tar, limited by ratio and by free disk space."""
    limit = min(MAX_MEMBER_BYTES, MAX_RATIO * max(path.stat().st_size, 1) + _BLOCK)
    done = 0
    try:
        with opener(path) as source, target.open("wb") as out:
            while block := source.read(_BLOCK):
                done += len(block)
                if done > limit:
                    raise ArchiveError(f"{path}: unpacks to more than {limit:,} bytes; refused as a bomb.")
                if done % (64 * _BLOCK) < _BLOCK and shutil.disk_usage(target).free < 64 * _BLOCK:
                    raise ArchiveError(
                        f"{path}: no space to unpack it in {target.parent}; set TMPDIR to a larger disk."
                    )
                out.write(block)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as exc:
        raise ArchiveError(f"{path}: the archive is damaged or cut short ({exc}); download it again.") from exc
    except OSError as exc:
        if exc.errno is not None:
            raise
        raise ArchiveError(f"{path}: the archive is damaged ({exc}); download it again.") from exc
