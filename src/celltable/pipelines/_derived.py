"""Stores made of other stores: their tables written in one step, and the pixels that they point to found again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from celltable import schema, work
from celltable.cells import Finding
from celltable.disk import exchange, locked, plain_os_errors, staging
from celltable.errors import InputError, NotFoundError, StoreError
from celltable.geometry.fingerprint import perceptual_hash
from celltable.store import Store, open_store
from celltable.store._tables import aligned, write_info, write_instances, write_table

UNREADABLE: Final = "unreadable-pixels"


def refuse_occupied(out: Path, overwrite: bool, sources: Sequence[Store] = ()) -> None:
    """Raise StoreError unless a store may be written at `out`."""
    if any(out.resolve() == s.path.resolve() for s in sources):
        raise StoreError(f"{out} is the store that is read; give another name for the one to write.")
    if out.exists() and not overwrite:
        raise StoreError(f"{out} exists already. Give another name, or --overwrite to replace it.")
    if out.exists() and not (out / "dataset.json").exists():
        raise StoreError(f"{out} exists and is not a celltable store; it was left untouched. Give another name.")


def write_store(
    out: Path,
    info: Mapping[str, Any],
    images: pa.Table,
    cells: pa.Table,
    findings: pa.Table | None = None,
    edits: pa.Table | None = None,
) -> Store:
    """Write a store in one atomic step, in place of one that is there, and open it."""
    with plain_os_errors(out), staging(out) as folder:
        images, cells = aligned(images, cells)
        write_table(folder / "images.parquet", images)
        write_instances(folder / "instances.parquet", images, [cells])
        write_table(folder / "findings.parquet", schema.empty("findings") if findings is None else findings)
        if edits is not None and edits.num_rows:
            write_table(folder / "edits.parquet", edits)
        write_info(folder, info)
        if out.exists():
            with locked(out):
                exchange(folder, out)
        else:
            exchange(folder, out)
    return open_store(out)


def sources_beside(store: Store, out: Path) -> dict[str, Any]:
    """The sources of a store as dataset.json of a store at `out` names them: where they lie now, as far as is known."""
    beside = out.resolve().parent
    made = {}
    for key, entry in store.info.get("sources", {}).items():
        try:
            path = store.source_path(key).resolve()
        except StoreError:  # the release is not here now; it may come back to where it was
            path = Path(entry["path"])
        made[key] = {**entry, "path": str(path), "relative": os.path.relpath(path, beside)}
    return made


def own_source(store: Store, out: Path) -> dict[str, Any]:
    """The folder of a store itself, as a source of copied pixels for a store at `out`."""
    path = store.path.resolve()
    relative = os.path.relpath(path, out.resolve().parent)
    return {"path": str(path), "relative": relative, "size": None, "sha256": None}


def with_columns(table: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """A table with some columns replaced, their types kept."""
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        made = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, field.type)
        table = table.set_column(at, field, made)
    return table


def fingerprints(
    entries: Sequence[tuple[Store, str]], names: Sequence[str], workers: int | None, progress: bool
) -> tuple[list[int], list[Finding]]:
    """The perceptual hash of each image (0, which is like nothing, where it cannot be read) and what was unreadable.

    `names` are the ids under which findings name the images.
    """

    def hashed(entry: tuple[Store, str]) -> int | str:
        try:
            return perceptual_hash(entry[0][entry[1]].pixels)
        except (InputError, NotFoundError) as exc:
            return str(exc)

    label = "comparing images" if progress else None
    found = list(work.map(hashed, entries, workers=workers, progress=label))
    trouble = [
        Finding(UNREADABLE, f"not compared with other images: {value}", "warning", name)
        for name, value in zip(names, found, strict=True)
        if isinstance(value, str)
    ]
    return [0 if isinstance(value, str) else value for value in found], trouble
