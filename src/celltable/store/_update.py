"""How a generation of a store is written: tables and description in a folder of their own, then moved into place."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from celltable import schema
from celltable.disk import exchange, locked, plain_os_errors, staging
from celltable.errors import StoreError

from ._tables import aligned, write_instances, write_table
from .description import FILE, Description, TableFile, described, encode

if TYPE_CHECKING:
    from . import Store

Change: TypeAlias = pa.Table | Callable[[pa.Table], pa.Table]
CELLS: Final = ("images", "instances")
# What a table was made from: if another process changed one of these meanwhile, the new table is no longer true.
_MADE_FROM: Final = {"images": {"images", "instances"}, "instances": {*CELLS, "edits"}, "edits": {"instances", "edits"}}


def refuse_occupied(out: Path, overwrite: bool, sources: Sequence[Store] = ()) -> None:
    """Raise StoreError unless a store may be written at `out`."""
    if any(out.resolve() == s.path.resolve() for s in sources):
        raise StoreError(f"{out} is the store that is read; give another name for the one to write.")
    with plain_os_errors(out):
        there = out.exists()
    if there and not overwrite:
        raise StoreError(f"{out} exists already. Give another name, or --overwrite to replace it.")
    if there and not (out / FILE).exists():
        raise StoreError(f"{out} exists and is not a celltable store; it was left untouched. Give another name.")


def write_store(
    out: Path,
    info: Description | Mapping[str, Any],
    images: pa.Table,
    cells: pa.Table,
    findings: pa.Table | None = None,
    edits: pa.Table | None = None,
) -> Store:
    """Write a store from tables in one atomic step, in place of one that is there, and open it."""
    from . import open_store

    with plain_os_errors(out), staging(out) as folder:
        images, cells = aligned(images, cells)
        tables = {"images": images, "instances": cells}
        tables["findings"] = schema.empty("findings") if findings is None else findings
        if edits is not None and edits.num_rows:
            tables["edits"] = edits
        _write_tables(folder, tables, images)
        write_description(folder, sealed(folder, described(info), tables))
        with locked(out) if out.exists() else nullcontext():
            exchange(folder, out)
    return open_store(out)


def update(store: Store, tables: Mapping[str, Change], info: Mapping[str, Any], done: str) -> None:
    """Replace tables and fields of the description on disk; see `Store.update`."""
    with locked(store.path), plain_os_errors(store.path):
        now = store.fresh()
        _refuse_lost_updates(store, now, {name for name, change in tables.items() if not callable(change)})
        new = {n: change(getattr(now, n).arrow) if callable(change) else change for n, change in tables.items()}
        with staging(store.path) as folder:
            images = _with_cells(now, new)
            _link_files(store.path, folder, skip={f"{name}.parquet" for name in new} | {FILE})
            _write_tables(folder, new, images)
            history = (*now.description.history, *([done] if done else []))
            changed = now.description.replaced(history=history).replaced(**info)
            write_description(folder, sealed(folder, described(changed), new))
            exchange(folder, store.path)


def _refuse_lost_updates(store: Store, now: Store, tables: Collection[str]) -> None:
    """Raise where a table would replace what another process wrote after `store` was opened."""
    if now.generation == store.generation:
        return
    made_from = {source for name in tables for source in _MADE_FROM.get(name, {name})}
    before, after = store.description.tables, now.description.tables
    changed = sorted(name for name in made_from if before.get(name) != after.get(name))
    if changed:
        news = now.description.history[len(store.description.history) :]
        raise StoreError(
            f"{store.path}: {' and '.join(changed)} changed on disk after the store was opened"
            f"{f' ({news[-1]})' if news else ''}. Nothing was written; open it again and repeat the command."
        )


def _with_cells(now: Store, new: dict[str, pa.Table]) -> pa.Table | None:
    """Complete images and instances to a pair that fits together; return the images."""
    if "instances" in new:
        new["images"], new["instances"] = aligned(new.get("images", now.images.arrow), new["instances"])
    elif "images" in new:
        images = new["images"].sort_by("image_id")
        if images.column("image_id").to_pylist() == list(now):  # then the cells stay as they are
            counts = now.images.arrow.column("n_instances")
            at = images.schema.get_field_index("n_instances")
            images = images.set_column(at, schema.IMAGES.field("n_instances"), counts)
            new["images"] = images.select(schema.IMAGES.names).cast(schema.IMAGES)
        else:
            new["images"], new["instances"] = aligned(images, now.instances.arrow)
    return new.get("images")


def _write_tables(folder: Path, tables: Mapping[str, pa.Table], images: pa.Table) -> None:
    for name, table in tables.items():
        target = folder / f"{name}.parquet"
        target.unlink(missing_ok=True)
        if name == "instances":
            write_instances(target, images, [table])
        else:
            write_table(target, table)


def write_description(folder: Path, description: Description) -> None:
    """Write dataset.json, whole or not at all."""
    partial = folder / f".{FILE}.partial"
    partial.write_text(encode(description), encoding="utf-8")
    os.replace(partial, folder / FILE)


def sealed(folder: Path, description: Description, written: Collection[str]) -> Description:
    """Complete a description: digests of the tables in `folder` (those `written` anew), content, next generation."""
    tables = {}
    for name in schema.TABLES:
        path = folder / f"{name}.parquet"
        if path.exists():
            known = None if name in written else description.tables.get(name)
            tables[name] = known or _table_file(path)
    content, before = description.content, description.before
    if not content or not set(CELLS).isdisjoint(written):
        content, before = digest(*(tables[name].sha256 for name in CELLS)), {}
    return numbered(description.replaced(tables=tables, content=content, before=before))


def numbered(description: Description) -> Description:
    """Return the description as the generation after its own; where the files are makes no difference."""
    parts = [description.generation, description.content, *description.history]
    parts += [o.file for o in description.overlay]
    parts += [f"{name} {table.sha256}" for name, table in sorted(description.tables.items())]
    return description.replaced(generation=f"{description.number + 1}-{digest(*parts)}")


def digest(*texts: str) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of some texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _table_file(path: Path) -> TableFile:
    return TableFile(rows=pq.read_metadata(path).num_rows, sha256=sha256_of(path))


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link_files(old: Path, new: Path, skip: set[str]) -> None:
    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:  # a file system without hard links
            shutil.copy2(source, target)

    for entry in old.iterdir():
        if entry.name in skip:
            continue
        if entry.is_dir():
            shutil.copytree(entry, new / entry.name, copy_function=link)
        else:
            link(str(entry), str(new / entry.name))
