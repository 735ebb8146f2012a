"""The common interface to folders, zips and tars, and the rules for what is refused in them."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from celltable.errors import ArchiveError, NotFoundError

from .masks import MaskBatch

MAX_RATIO: Final = 1100  # deflate cannot exceed 1,032:1; a member that claims more is a bomb or damaged
MAX_MEMBER_BYTES: Final = 1 << 36  # 64 GiB: five times the largest published member
MAX_MEMBERS: Final = 1 << 24
MAX_PIXELS: Final = 1 << 28  # 16,384 squared; a header that claims more is refused before anything is allocated
_DRIVE = re.compile(r"[A-Za-z]:")
_JUNK_NAMES: Final = {".ds_store": ".DS_Store", "thumbs.db": "Thumbs.db", "desktop.ini": "desktop.ini"}


class Container(ABC):
    """A folder or archive: `sizes` maps each member's POSIX path to its size in bytes; junk is counted in `ignored`.

    Reads are safe from several threads at once.
    """

    path: Path
    sizes: dict[str, int]
    ignored: dict[str, int]

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read all bytes of a member, verified if the container holds a checksum."""

    def head(self, name: str, n: int) -> bytes:
        """Read up to the first `n` bytes of a member, unverified."""
        return self.read(name)[:n]

    def tail(self, name: str, n: int) -> bytes | None:
        """Read up to the last `n` bytes of an uncompressed member; None for a compressed one.

        Raises
        ------
        ArchiveError
            If the file cannot be read.
        """
        span = self.span(name)
        if span is None:
            return None
        try:
            with span[0].open("rb") as file:
                file.seek(span[1] + max(0, self.sizes[name] - n))
                return file.read(min(n, self.sizes[name]))
        except OSError as exc:
            raise ArchiveError(f"{name}: cannot be read ({exc.strerror}).") from exc

    @abstractmethod
    def span(self, name: str) -> tuple[Path, int] | None:
        """Return file and offset of an uncompressed member; None for a compressed one."""

    @abstractmethod
    def extract(self, name: str) -> tuple[Path, int]:
        """Like `span`, but unpack a compressed member into a temporary file first."""

    def copied(self, name: str) -> Path:
        """Return a file that holds only the member."""
        return self.extract(name)[0]

    @abstractmethod
    def masks(self, names: Sequence[str], workers: int) -> MaskBatch:
        """Decode many PNG members into run lengths."""

    def close(self) -> None:  # noqa: B027
        """Close files and remove temporary ones."""

    def checked(self, name: str) -> str:
        """Return the name of a member that exists.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        if name not in self.sizes:
            raise NotFoundError(f"{self.path.name} has no member '{name}' among its {len(self.sizes):,} members.")
        return name


def litter_kind(name: str) -> str | None:
    """Name the kind of operating-system litter, or None if the member is not litter.

    >>> litter_kind("__MACOSX/a/._b.png"), litter_kind("a/.DS_Store"), litter_kind("a/b.png")
    ('__MACOSX/', '.DS_Store', None)
    """
    parts = name.split("/")
    if "__MACOSX" in parts:
        return "__MACOSX/"
    if parts[-1].startswith("._"):
        return "._*"
    return _JUNK_NAMES.get(parts[-1].lower())


def safe_name(name: str, archive: Path) -> str:
    """Return a member's path in POSIX form; refuse one that could lead out of the archive's folder.

    >>> safe_name("a//./b.png", Path("x.zip"))
    'a/b.png'

    Raises
    ------
    ArchiveError
        If the path is absolute, names a drive, climbs with ``..`` or holds a NUL.
    """
    posix = name.replace("\\", "/")
    parts = [p for p in posix.split("/") if p not in ("", ".")]
    reason = None
    if posix.startswith("/"):
        reason = "is an absolute path"
    elif _DRIVE.match(posix):
        reason = "names a drive"
    elif ".." in parts:
        reason = "leads out of the archive with '..'"
    elif "\0" in posix:
        reason = "holds a NUL character"
    elif not parts:
        reason = "has no name"
    if reason is not None:
        raise ArchiveError(
            f"{archive.name}: member {name!r} {reason}; the archive is refused, nothing was read from it."
        )
    return "/".join(parts)


def is_archive(name: str) -> bool:
    """Whether a file name is that of an archive.

    >>> is_archive("a.tar.gz"), is_archive("a.npz")
    (True, False)
    """
    return name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))


def stem(name: str) -> str:
    """Strip the archive suffix from a file name, which gives the name of the folder it unpacks into.

    >>> stem("livecell.tar.gz"), stem("stage1_train.zip"), stem("v1.2")
    ('livecell', 'stage1_train', 'v1.2')
    """
    return re.sub(r"(?i)\.(zip|tar|tgz|tar\.(gz|bz2|xz))$", "", os.path.basename(name))
