"""Read the pixels that a store's row points to, from a release that each process opens once and keeps open."""

from __future__ import annotations

import atexit
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from celltable.errors import NotFoundError

from .pixels import read_pixels
from .release import Release, open_release

KEPT_RELEASES: Final = 8
_Key = tuple[str, int, int]
_opened: OrderedDict[_Key, Release] = OrderedDict()
_lock = threading.Lock()


def read_located(where: Release | str | Path, member: str, index: int | None = None) -> NDArray[Any]:
    """Read the pixels of a member of a release, or of one of its sources (an archive or folder).

    Parameters
    ----------
    where
        An opened release; or the path of an archive or folder, opened on first use and kept for the next call.
    member
        POSIX path within it.
    index
        Row of an .npy (read through a memory map) or page of a TIFF.

    Raises
    ------
    NotFoundError, ArchiveError, ImageFileError
        If it does not exist or cannot be decoded.
    """
    if isinstance(where, Release):
        return _of(where, member, index)
    path = Path(where)
    if path.is_dir():
        return _loose(path, member, index)
    return _of(_release(path), member, index)


def _of(release: Release, member: str, index: int | None) -> NDArray[Any]:
    """Find the only source of the release that has the member."""
    sources = [s.key for s in release.sources if release.has(s.key, member)]
    if len(sources) != 1:
        where = "is in none of its sources" if not sources else f"is in several of its sources: {sources}"
        raise NotFoundError(f"{release.path.name}: member '{member}' {where}.")
    return release.read_pixels(release.entry(sources[0], member), index)


def _loose(folder: Path, member: str, index: int | None) -> NDArray[Any]:
    path = folder / member
    if ".." in Path(member).parts or Path(member).is_absolute() or not path.is_file():
        raise NotFoundError(f"{folder} has no file '{member}'.")
    if index is not None and path.suffix.lower() == ".npy":
        from .npy import mapped, row

        return row(mapped(path, 0, path.stat().st_size, member), index, member)
    return read_pixels(path.read_bytes(), member, index)


def _release(path: Path) -> Release:
    if not path.exists():
        raise NotFoundError(f"{path} does not exist any more; the pixels were there when the data set was read.")
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    with _lock:
        if key not in _opened:
            _opened[key] = open_release(path)
            while len(_opened) > KEPT_RELEASES:
                _opened.popitem(last=False)[1].close()
        _opened.move_to_end(key)
        return _opened[key]


@atexit.register
def forget() -> None:
    """Close all releases that are kept open and remove their temporary files."""
    with _lock:
        while _opened:
            _opened.popitem()[1].close()
