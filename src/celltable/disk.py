"""Atomic changes of folders: locks, staging, an exchange in one step, plain words for a full or read-only disk."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import StoreError

LOCK_WAIT = 10.0  # s; writing a generation takes seconds at most, what leads to it may take hours
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "writing there is not permitted",
    errno.EPERM: "writing there is not permitted",
    errno.ENOTDIR: "a part of that path is a file, not a folder",
    errno.ENOENT: "the parent folder does not exist",
    errno.ENAMETOOLONG: "the name is too long for this disk",
}


@contextmanager
def plain_os_errors(path: Path) -> Iterator[None]:
    """Turn what a disk can refuse into one sentence; nothing at `path` has changed by then."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _WORDS:
            raise
        raise StoreError(
            f"Cannot write {path}: {_WORDS[exc.errno]} ({exc.filename or path}). What was there is untouched."
        ) from exc


@contextmanager
def locked(folder: Path, wait: float | None = None) -> Iterator[None]:
    """Hold the folder's exclusive lock; it ends with the process, however that ends.

    `wait` is how many seconds to wait for another process that holds it (None: `LOCK_WAIT`).

    Raises
    ------
    StoreError
        If another process still holds it then.
    """
    handle = lock(folder, LOCK_WAIT if wait is None else wait)
    try:
        yield
    finally:
        os.close(handle)


def lock(folder: Path, wait: float = 0) -> int:
    """Take the lock of the folder that is at this path, and return the descriptor to close."""
    import fcntl

    end = time.monotonic() + wait
    while True:
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), folder.stat()):
                return handle
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(handle)
                raise StoreError(
                    f"Another process is writing {folder} right now. Wait for it to end, or give another name."
                ) from None
            time.sleep(0.02)
        except FileNotFoundError:
            os.close(handle)
            raise
        os.close(handle)  # the folder was replaced, or is still locked


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A new, empty folder beside `target`, removed at the end whatever happens (unless it was moved into place)."""
    folder = target.with_name(f".{target.name}.staging-{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_whole(target: Path, data: bytes, scratch: Path) -> None:
    """Write a file that is whole or absent; whatever a kill leaves half-written stays in the folder `scratch`.

    Processes of several machines may write the same file at once: each has its own half-written one.
    """
    with plain_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = scratch / f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}.partial"
        partial.write_bytes(data)
        os.replace(partial, target)


def exchange(new: Path, target: Path) -> None:
    """Put the folder `new` at `target` in one step; an old folder there ends up at `new`, for the caller to remove."""
    sync(new)
    if not target.exists():
        os.rename(new, target)
    elif not _swap(new, target):
        old = target.with_name(f".{target.name}.old-{os.getpid()}")
        os.rename(target, old)
        os.rename(new, target)
        os.rename(old, new)
    sync(target.parent)


def _swap(a: Path, b: Path) -> bool:
    """Exchange two folders atomically where the system can (Linux renameat2); False where it cannot."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    return int(call(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE)) == 0


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(handle)
