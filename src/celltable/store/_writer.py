"""Write a store image after image, so that an interrupted run resumes where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from celltable import schema
from celltable.cells import Sample
from celltable.disk import exchange, locked, plain_os_errors
from celltable.errors import StoreError

from ._parts import Parts
from ._store import Store, open_store
from ._update import refuse_occupied, sealed, write_description
from .description import Description, described


class StoreWriter:
    """Writes a store image after image, and resumes where an interrupted run stopped.

    Samples are kept in small parts under ``<path>.incomplete``; `finish` sorts them into the final tables and moves the
    folder into place. `done` says how many samples an earlier, interrupted run has already written: skip those.

    ``fingerprint`` describes the request (source files, options): an interrupted run of another request is discarded.
    """

    PART_CELLS: Final = 32_768
    PART_IMAGES: Final = 256

    def __init__(self, path: str | Path, fingerprint: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        refuse_occupied(self.path, self._overwrite)
        self._parts = Parts(self.path.with_name(self.path.name + ".incomplete"), fingerprint)

    @property
    def done(self) -> int:
        """Samples that an earlier, interrupted run has written."""
        return self._parts.done

    def __enter__(self) -> StoreWriter:
        self._parts.lock()
        try:
            refuse_occupied(self.path, self._overwrite)  # another process may have finished it before the lock was ours
        except StoreError:
            self._parts.unlock()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._parts.unlock()

    def append(self, sample: Sample) -> None:
        """Add one image with its cells and findings."""
        self._parts.append(sample)
        if self._parts.pending_cells >= self.PART_CELLS or self._parts.pending_images >= self.PART_IMAGES:
            with plain_os_errors(self.path):
                self._parts.flush()

    def finish(self, info: Description | Mapping[str, Any], findings: pa.Table | None = None) -> Store:
        """Write the final tables, `findings` beside those of the samples, and move the store into place.

        Classes of cells that the description does not list follow those that it lists, by name.
        """
        with plain_os_errors(self.path):
            self._parts.flush()
            folder = self._parts.final
            classes = self._parts.assemble(folder, findings)
            description = described(info)
            listed = description.classes
            description = description.replaced(classes=(*listed, *(c for c in classes if c not in listed)))
            write_description(folder, sealed(folder, description, schema.TABLES))
            with locked(self.path) if self.path.exists() else nullcontext():
                self._parts.seal()
                exchange(folder, self.path)
            self._parts.discard()
        return open_store(self.path)

    @property
    def extra(self) -> Path:
        """A folder that becomes part of the store (copied pixels)."""
        return self._parts.final
