"""Write output files and folders atomically."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from celltable.disk import exchange, plain_os_errors, staging
from celltable.errors import CelltableError


@contextmanager
def new_folder(out: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Provide an empty folder to write into, which replaces `out` if the block succeeds and is removed otherwise."""
    target = _free(Path(out), overwrite)
    with plain_os_errors(target), staging(target) as folder:
        yield folder
        if target.is_file():
            target.unlink()
        exchange(folder, target)


@contextmanager
def new_file(out: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Provide a path to write to; the file replaces `out` if the block succeeds and is removed otherwise."""
    target = _free(Path(out), overwrite)
    if target.is_dir():
        raise CelltableError(f"{target} is a folder, but this format is a single file. Give a file name.")
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    with plain_os_errors(target):
        try:
            yield partial
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def _free(target: Path, overwrite: bool) -> Path:
    full = any(target.iterdir()) if target.is_dir() else target.exists()
    if full and not overwrite:
        raise CelltableError(f"{target} already exists. Choose another name, or overwrite it (--option overwrite=yes).")
    return target
