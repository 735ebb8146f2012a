"""Write a store image by image, so that an interrupted run can be resumed."""

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
    """Writes a store image by image, and resumes an interrupted run.

    Samples are kept in small parts under ``<path>.incomplete``; `finish` sorts them into the final tables and moves the
    folder into place. `done` is the number of samples that an interrupted run has already written: skip those.

    ``fingerprint`` identifies the request (source files, options); an interrupted run of another request is discarded.
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
        """Number of samples that an interrupted run has already written."""
        return self._parts.done

    def __enter__(self) -> StoreWriter:
        self._parts.lock()
        try:
            refuse_occupied(self.path, self._overwrite)  # another process may have finished it before we got the lock
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
        """Write the final tables, with `findings` added to those of the samples, and move the store into place.

        Cell classes that the description does not list are added after those that it lists, sorted by name.
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
        """Create a folder that becomes part of the store, for copied pixels."""
        return self._parts.final
