"""Pending changes of cells, not yet in instances.parquet, and their effect on each table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from celltable import schema

from ._snapshot import Snapshot
from ._tables import read_table
from .edits import Row, from_json
from .staleness import after_edits, after_undo


@dataclass(frozen=True)
class Entry:
    """One write of edits: rows of the edits table and, if they undo a batch, its number and generation."""

    rows: Sequence[Row]
    undo: int | None = None
    undone: int = 0

    @cached_property
    def table(self) -> pa.Table:
        """Return the rows as a table."""
        return pa.Table.from_pylist(list(self.rows), schema=schema.EDITS)


@dataclass(frozen=True)
class Pending:
    """The entries of an overlay, in the order they are applied."""

    entries: tuple[Entry, ...] = ()

    @classmethod
    def read(cls, snapshot: Snapshot, known: Mapping[str, Entry] | None = None) -> Pending:
        """Read the overlay listed in a description, reusing the `known` entries (by file)."""
        made = []
        for o in snapshot.description.overlay:
            entry = (known or {}).get(o.file)
            made.append(entry or Entry(read_table(snapshot.path(o.file)).to_pylist(), o.undo, o.undone))
        return cls(tuple(made))

    def __bool__(self) -> bool:
        return bool(self.entries)

    def plus(self, entry: Entry) -> Pending:
        """Return the overlay with one more entry."""
        return Pending((*self.entries, entry))

    @cached_property
    def cells(self) -> Mapping[str, Mapping[int, str | None]]:
        """Map image → changed cell → its row as JSON, None if removed."""
        changed: dict[str, dict[int, str | None]] = {}
        for entry in self.entries:
            for row in entry.rows:
                changed.setdefault(row["image_id"], {})[row["instance_id"]] = row["after"]
        return changed

    @cached_property
    def more(self) -> Mapping[str, int]:
        """Map each image to the change in its number of cells."""
        made: dict[str, int] = {}
        for row in (row for entry in self.entries for row in entry.rows):
            step = {"add": 1, "remove": -1}.get(row["action"], 0)
            made[row["image_id"]] = made.get(row["image_id"], 0) + step
        return made

    def rows(self, image_id: str, base: pa.Table) -> pa.Table:
        """Return the cells of one image, given those that instances.parquet contains."""
        import pyarrow.compute as pc  # takes longer than opening a store

        changed = self.cells[image_id]
        ids = pa.array(sorted(changed), pa.int32())
        kept = base.filter(pc.invert(pc.is_in(base.column("instance_id"), ids)))
        new = [from_json(text) for _, text in sorted(changed.items()) if text is not None]
        table = pa.concat_tables([kept, pa.Table.from_pylist(new, schema=base.schema)])
        return table.sort_by("instance_id").combine_chunks()

    def edits(self, base: pa.Table) -> pa.Table:
        """Return the edits, given those that edits.parquet contains."""
        import pyarrow.compute as pc

        for entry in self.entries:
            if entry.undo is None:
                base = pa.concat_tables([base, entry.table])
            else:
                base = base.filter(pc.not_equal(base.column("batch"), entry.undo))
        return base

    def findings(self, base: pa.Table) -> pa.Table:
        """Return the findings, given those that findings.parquet contains, with those on changed cells marked stale."""
        for entry in self.entries:
            if entry.undo is None:
                base = after_edits(base, entry.table)
            else:
                base = after_undo(base, entry.table, entry.undone)
        return base

    def last_batch(self) -> int | None:
        """Return the last batch of the overlay that was not undone."""
        batches: list[int] = []
        for entry in self.entries:
            if entry.undo is None:
                batches.append(int(entry.rows[0]["batch"]))
            elif entry.undo in batches:
                batches.remove(entry.undo)
        return max(batches, default=None)


def spliced(base: pa.Table, parts: Iterable[tuple[int, int, pa.Table]]) -> pa.Table:
    """Replace rows `start` to `stop` of a table for each (start, stop, rows), in order."""
    made: list[pa.Table] = []
    at = 0
    for start, stop, rows in parts:
        made += [base.slice(at, start - at), rows.select(base.schema.names).cast(base.schema)]
        at = stop
    return pa.concat_tables([*made, base.slice(at)])
