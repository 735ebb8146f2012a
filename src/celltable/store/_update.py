"""Write a generation of a store: tables and description go to a new folder, which is then moved into place."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from celltable import schema
from celltable.disk import exchange, locked, plain_os_errors, staging, sync
from celltable.errors import StoreError
from celltable.words import plural

from ._opened import Opened
from ._pending import Entry
from ._tables import aligned, conformed, with_columns, write_instances, write_table
from .description import FILE, Description, Overlay, TableFile, described, encode
from .edits import apply_rows, undone
from .staleness import after_edits

Change: TypeAlias = pa.Table | Callable[[pa.Table], pa.Table]
CELLS: Final = ("images", "instances")
OVERLAY: Final = "overlay"  # folder for pending changes of cells
SMALL = 50_000  # cells; rewriting this many takes a tenth of a second
OVERLAY_EDITS = 4096  # edits that readers still apply each time a store is opened
OVERLAY_FILES = 256
_ABOUT_CELLS: Final = frozenset({*CELLS, "edits", "findings"})
# What a table is computed from: if another process changed one of these meanwhile, the new table is out of date.
_MADE_FROM: Final = {"images": {"images", "instances"}, "instances": {*CELLS, "edits"}, "edits": {"instances", "edits"}}


def refuse_occupied(out: Path, overwrite: bool, sources: Sequence[Opened] = ()) -> None:
    """Raise StoreError if a store must not be written at `out`."""
    if any(out.resolve() == s.path.resolve() for s in sources):
        raise StoreError(f"{out} is the store that is read; choose another name for the one to write.")
    with plain_os_errors(out):
        there = out.exists()
    if there and not overwrite:
        raise StoreError(f"{out} already exists. Choose another name, or use --overwrite to replace it.")
    if there and not (out / FILE).exists():
        raise StoreError(f"{out} exists and is not a celltable store; it was left untouched. Choose another name.")


def update(store: Opened, tables: Mapping[str, Change], info: Mapping[str, Any], done: str) -> None:
    """Replace tables and fields of the description on disk; see `Store.update`."""
    with locked(store.path), plain_os_errors(store.path):
        now = store.fresh()
        _refuse_lost_updates(store, now, {name for name, change in tables.items() if not callable(change)})
        new = {n: change(getattr(now, n).arrow) if callable(change) else change for n, change in tables.items()}
        history = (*now.description.history, *([done] if done else []))
        _replace(now, new, now.description.replaced(history=history).replaced(**info))


def fold(store: Opened) -> None:
    """Write pending changes of cells into the tables; see `Store.compact`."""
    with locked(store.path), plain_os_errors(store.path):
        now = store.fresh()
        if now.description.overlay:
            _replace(now, {}, now.description, folded=True)


def _replace(now: Opened, new: dict[str, pa.Table], description: Description, *, folded: bool = False) -> None:
    """Write a generation with some new tables beside the old one, then exchange the two.

    Pending changes are written into the tables if `folded`, or if a new table is about cells. The store's `content`
    stays as in the description unless images or cells are given.
    """
    given = set(CELLS) & set(new)
    if folded or (description.overlay and not _ABOUT_CELLS.isdisjoint(new)):
        new = {**{name: getattr(now, name).arrow for name in _ABOUT_CELLS}, **new}
        description = description.replaced(overlay=())
    if given:
        description = description.replaced(content="", before={})
    with staging(now.path) as folder:
        images = _with_cells(now, new)
        if "findings" in new:
            new["findings"] = after_edits(new["findings"], new.get("edits", now.edits.arrow))
        skip = {f"{name}.parquet" for name in new} | {FILE}
        _link_files(now.path, folder, skip if description.overlay else skip | {OVERLAY})
        write_tables(folder, new, images)
        write_description(folder, sealed(folder, described(description), new))
        exchange(folder, now.path)


def change_cells(store: Opened, edits: pa.Table | None, done: str, compact: bool | None) -> pa.Table:
    """Apply edits as a batch, or undo the last batch if there are none; return the batch.

    See `Store.edit` and `Store.undo`.
    """
    with locked(store.path), plain_os_errors(store.path):
        now = store.fresh() if store.is_stale else store
        entry, batch, content, done = _undo(now) if edits is None else _edit(now, edits, done)
        verify(now, entry.rows)
        before = dict(now.description.before)
        if entry.undo is None:
            before[str(batch.column("batch")[0].as_py())] = now.content
        else:
            before.pop(str(entry.undo), None)
        history = (*now.description.history, *([done] if done else []))
        description = now.description.replaced(
            content=content, cells=now.description.number + 1, before=before, history=history
        )
        if _rewrites(now, entry) if compact is None else compact:
            _replace(now.with_pending(entry), {}, description, folded=True)
        else:
            _append(now, entry, description)
    return batch


def _edit(now: Opened, edits: pa.Table, done: str) -> tuple[Entry, pa.Table, str, str]:
    """Return the entry, the batch, the content afterwards and the history line of an edit."""
    last_id, last_batch = now.last_numbers()
    n, number = edits.num_rows, now.description.number + 1
    batch = with_columns(
        conformed(edits, "edits"),
        {
            "edit_id": list(range(last_id + 1, last_id + 1 + n)),
            "batch": [last_batch + 1] * n,
            "generation": [number] * n,
        },
    )
    rows = batch.to_pylist()
    content = digest(now.content, *(f"{row['before']} {row['after']}" for row in rows))
    return Entry(rows), batch, content, done and f"{done} ({plural(n, 'edit')}, batch {last_batch + 1})"


def _undo(now: Opened) -> tuple[Entry, pa.Table, str, str]:
    """Return the same for undoing the last batch."""
    batch = now.last_batch()
    if not batch.num_rows:
        raise StoreError(f"{now.path} has no edits; there is nothing to undo.")
    number, made = batch.column("batch")[0].as_py(), batch.column("generation")[0].as_py()
    rows = [{**row, "generation": now.description.number + 1} for row in undone(batch.to_pylist())]
    content = now.description.before.get(str(number)) or digest(now.content, f"undo {number}")
    done = f"undo: batch {number} ({plural(batch.num_rows, 'edit')})"
    return Entry(rows, undo=number, undone=made or 0), batch, content, done


def verify(now: Opened, edits: Sequence[Mapping[str, Any]]) -> None:
    """Raise unless every cell matches the before state of its edit."""
    images = sorted({row["image_id"] for row in edits})
    strange = [i for i in images if i not in now]
    if strange:
        raise StoreError(
            f"{now.path} has no image '{strange[0]}' that the edits change ({len(strange):,} such images). "
            "Nothing was changed: the edits belong to another data set."
        )
    rows = [schema.empty("instances"), *(now.rows_of(i).cast(schema.INSTANCES) for i in images)]
    apply_rows(pa.concat_tables(rows), edits)


def _rewrites(now: Opened, entry: Entry) -> bool:
    """Whether to rewrite instances.parquet: the store is small, or the overlay would be large."""
    pending = sum(o.edits for o in now.description.overlay) + len(entry.rows)
    small = now.n_instances <= SMALL and not now.description.overlay
    return small or pending > OVERLAY_EDITS or len(now.description.overlay) >= OVERLAY_FILES


def _append(now: Opened, entry: Entry, description: Description) -> None:
    """Write an overlay file into the folder; it counts once dataset.json names it."""
    name = f"{OVERLAY}/{now.description.number + 1:06d}.parquet"
    target = now.path / name
    target.parent.mkdir(exist_ok=True)
    partial = target.with_suffix(".partial")
    write_table(partial, entry.table)
    sync(partial)
    os.replace(partial, target)
    pending = Overlay(file=name, edits=len(entry.rows), undo=entry.undo, undone=entry.undone)
    write_description(now.path, numbered(description.replaced(overlay=(*description.overlay, pending))))


def _refuse_lost_updates(store: Opened, now: Opened, tables: Collection[str]) -> None:
    """Raise if a table would replace what another process wrote after `store` was opened."""
    if now.generation == store.generation:
        return
    made_from = {source for name in tables for source in _MADE_FROM.get(name, {name})}
    before, after = store.description.tables, now.description.tables
    changed = sorted(name for name in made_from if before.get(name) != after.get(name))
    if changed:
        news = now.description.history[len(store.description.history) :]
        raise StoreError(
            f"{store.path}: {' and '.join(changed)} changed on disk after the store was opened"
            f"{f' ({news[-1]})' if news else ''}. Nothing was written; reopen the store and repeat the command."
        )


def _with_cells(now: Opened, new: dict[str, pa.Table]) -> pa.Table | None:
    """Make images and instances consistent with each other; return the images."""
    if "instances" in new:
        new["images"], new["instances"] = aligned(new.get("images", now.images.arrow), new["instances"])
    elif "images" in new:
        images = new["images"].sort_by("image_id")
        if images.column("image_id").to_pylist() == list(now):  # the cells can stay as they are
            counts = now.images.arrow.column("n_instances")
            at = images.schema.get_field_index("n_instances")
            images = images.set_column(at, schema.IMAGES.field("n_instances"), counts)
            new["images"] = images.select(schema.IMAGES.names).cast(schema.IMAGES)
        else:
            new["images"], new["instances"] = aligned(images, now.instances.arrow)
    return new.get("images")


def write_tables(folder: Path, tables: Mapping[str, pa.Table], images: pa.Table) -> None:
    for name, table in tables.items():
        target = folder / f"{name}.parquet"
        target.unlink(missing_ok=True)
        if name == "instances":
            write_instances(target, images, [table])
        else:
            write_table(target, table)


def write_description(folder: Path, description: Description) -> None:
    """Write dataset.json atomically."""
    partial = folder / f".{FILE}.partial"
    partial.write_text(encode(description), encoding="utf-8")
    sync(partial)
    os.replace(partial, folder / FILE)
    sync(folder)


def sealed(folder: Path, description: Description, written: Collection[str]) -> Description:
    """Complete a description: digests of the tables in `folder` (those just `written`), content, next generation."""
    tables = {}
    for name in schema.TABLES:
        path = folder / f"{name}.parquet"
        if path.exists():
            known = None if name in written else description.tables.get(name)
            tables[name] = known or _table_file(path)
    if not description.content:
        content = digest(*(tables[name].sha256 for name in CELLS))
        description = description.replaced(content=content, cells=description.number + 1)
    return numbered(description.replaced(tables=tables))


def numbered(description: Description) -> Description:
    """Advance the description to the next generation; the location of the files does not matter."""
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
