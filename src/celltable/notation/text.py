"""Read text files of any origin: UTF-8 with or without a byte-order mark, any line endings, plain or gzipped."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from celltable.errors import InputError, NotFoundError


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file for reading.

    Raises
    ------
    NotFoundError
        If the file does not exist.
    InputError
        If it is not UTF-8 text, or is a damaged gzip file.
    """
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist.")
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as stream:
                yield stream
        else:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                yield stream
    except UnicodeDecodeError as exc:
        raise InputError(f"{path.name} is not UTF-8 text (byte {exc.start}). Is it the right file?") from exc
    except (gzip.BadGzipFile, EOFError) as exc:
        raise InputError(f"{path.name} is damaged: {exc}") from exc
