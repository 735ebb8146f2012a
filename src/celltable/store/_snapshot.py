"""Hold open the files of one generation of a store, so that they remain readable after the folder is replaced."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from celltable import schema
from celltable.errors import StoreError

from .description import FILE, Description, parse

ATTEMPTS: Final = 100  # another process would have to replace the folder each time


class Snapshot:
    """The open files of one generation, by their name in the folder, and its description."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, int] = {}
        weakref.finalize(self, _close, self._files)
        for _ in range(ATTEMPTS):
            try:
                self.description = self._opened()
            except FileNotFoundError:  # replaced while it was being opened
                _close(self._files)
                if not (folder / FILE).exists():
                    raise StoreError(nothing_there(folder)) from None
            else:
                return
        raise StoreError(f"{folder} is damaged: a file listed in {FILE} is missing. Make the store again.")

    def _opened(self) -> Description:
        """Open the files; raise FileNotFoundError if the folder was replaced meanwhile."""
        try:
            before = self.folder.stat()
            text = (self.folder / FILE).read_text(encoding="utf-8")
        except NotADirectoryError:
            raise StoreError(nothing_there(self.folder)) from None
        description = parse(text, self.folder)
        needed = {"images.parquet", "instances.parquet", *(f"{name}.parquet" for name in description.tables)}
        self._hold([*sorted(needed), *(o.file for o in description.overlay)])
        for name in {f"{name}.parquet" for name in schema.TABLES} - needed:  # version 1 does not list tables
            with suppress(FileNotFoundError):
                self._hold([name])
        if not os.path.samestat(before, self.folder.stat()):
            raise FileNotFoundError(self.folder)
        return description

    def _hold(self, names: Iterable[str]) -> None:
        for name in names:
            self._files[name] = os.open(self.folder / name, os.O_RDONLY)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def path(self, name: str) -> str:
        """Return a path that Arrow and DuckDB can open, even after the file was removed from its folder."""
        return f"/dev/fd/{self._files[name]}"


def _close(files: dict[str, int]) -> None:
    while files:
        os.close(files.popitem()[1])


def nothing_there(folder: Path) -> str:
    """Say in one sentence what is at `folder` instead of a store."""
    if folder.exists() and not folder.is_dir():
        return (
            f"{folder} is a file; expected a celltable folder. Make one: celltable ingest NAME {folder} OUT.celltable"
        )
    if folder.with_name(folder.name + ".incomplete").exists():
        return f"{folder} is unfinished: run the same command again to resume it."
    there = f"a folder without {FILE}" if folder.is_dir() else "nothing"
    return (
        f"{folder}: expected a celltable folder, found {there}. "
        f"Make one with: celltable ingest NAME RELEASE {folder.name}"
    )
