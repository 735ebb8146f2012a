"""An open store: one generation of a data set, read lazily."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from celltable import schema, work
from celltable.cells import Image, Instances, Rows, Sample, compose
from celltable.errors import InputError, NotFoundError, StoreError
from celltable.words import nearest

from ._pending import Entry, Pending, spliced
from ._query import run_query
from ._snapshot import Snapshot
from ._tables import conformed, read_table, with_columns
from ._update import CELLS, Change, change_cells, digest, fold, sha256_of, update, verify
from ._views import ImageView, Table
from .description import Description

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS_KEPT = 16  # row groups kept in memory: about 64,000 cells
BATCH_ROWS = 1 << 16  # rows per batch when counting a column
_SHARED = ("_stored_images", "_outline", "_instances", "_stored")  # shared by generations with the same cell files


class Store:
    """One generation of a data set on disk, read lazily; opened by `open_store`.

    All tables come from the generation that was opened, even after another process replaced the folder; `fresh` opens
    the newest. A store pickles as a `StoreReference`, so that another process opens it once, at the same path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._snapshot = Snapshot(path)
        self.description: Description = self._snapshot.description
        self._groups: dict[int, Rows] = {}
        self._lock = threading.Lock()  # a ParquetFile must be read by one thread at a time

    def __repr__(self) -> str:
        return f"<celltable store {self.path.name}: {len(self)} images>"

    def __reduce__(self) -> tuple[Any, ...]:
        return work.opened, (self.reference,)

    def __len__(self) -> int:
        return len(self._index[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index[0])

    @property
    def n_instances(self) -> int:
        """Number of cells."""
        return self._index[2][-1]

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._index[1]

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.description.name or self.path.stem

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """dataset.json as plain values; `description` is its typed form."""
        return self.description.to_dict()

    @property
    def reference(self) -> StoreReference:
        """Reference by which another process opens this store."""
        return StoreReference(str(self.path.resolve()), self.content)

    @property
    def generation(self) -> str:
        """Identifies the last write: a counter and a digest; empty for a store of version 1."""
        return self.description.generation

    @property
    def content(self) -> str:
        """Digest of images and cells; does not change when only other tables are written."""
        return self.description.content or digest(*(self.digest(name) for name in CELLS))

    def digest(self, table: str) -> str:
        """Return the SHA-256 of a table's file."""
        if table in self.description.tables:
            return self.description.tables[table].sha256
        return sha256_of(self._snapshot.path(f"{table}.parquet"))

    @property
    def is_stale(self) -> bool:
        """Whether the store on disk has been replaced by another generation, or is gone."""
        try:
            return Snapshot(self.path).description.generation != self.generation
        except StoreError:
            return True

    def fresh(self) -> Store:
        """Open the newest generation; anything it shares with this one is not read again."""
        store = open_store(self.path)
        mine, its = self.description.tables, store.description.tables
        if mine and all(mine[name] == its[name] for name in CELLS):
            entries = dict(zip((o.file for o in self.description.overlay), self._pending.entries, strict=True))
            store._pending = Pending.read(store._snapshot, entries)
            store._lock = self._lock
            store.__dict__.update({name: self.__dict__[name] for name in _SHARED if name in self.__dict__})
        return store

    @cached_property
    def images(self) -> Table:
        """One row per image."""
        images = self._stored_images
        if self._pending:
            counts = zip(images["image_id"].to_pylist(), images["n_instances"].to_pylist(), strict=True)
            images = with_columns(images, {"n_instances": [n + self._pending.more.get(i, 0) for i, n in counts]})
        return Table(images)

    @cached_property
    def _pending(self) -> Pending:
        """Changes of cells that are not in instances.parquet yet."""
        return Pending.read(self._snapshot)

    @cached_property
    def _stored_images(self) -> pa.Table:
        return self._table("images").arrow

    @cached_property
    def instances(self) -> Table:
        """One row per cell, sorted by image; reads all columns (`columns` reads some)."""
        return self.columns()

    @property
    def findings(self) -> Table:
        """One row per defect found by the reader or `check`; `stale` is null if the finding still holds."""
        return Table(self._pending.findings(self._table("findings").arrow))

    @property
    def edits(self) -> Table:
        """One row per repair of a cell."""
        return Table(self._pending.edits(self._table("edits").arrow))

    @property
    def scores(self) -> Table:
        """One row per score, written by `evaluate`."""
        return self._table("scores")

    @property
    def runs(self) -> Table:
        """One row per evaluation whose scores are in the store."""
        return self._table("runs")

    def columns(self, *names: str) -> Table:
        """Read only the named columns of instances; all columns if none are named."""
        with self._lock:
            table = self._instances.read(columns=list(names) or None)
        if self._pending:
            changed = sorted(map(self._position, self._pending.cells))
            _, _, first = self._stored
            table = spliced(table, ((first[p], first[p + 1], self.rows_of(self._index[0][p])) for p in changed))
        return Table(table)

    def value_counts(self, name: str) -> dict[str, int]:
        """Count the cells per value of a text column of instances, most frequent first; nulls are left out."""
        found: Counter[str] = Counter()
        for column in self._batches(name, read_dictionary=[name]):
            if column.null_count == len(column):
                continue
            codes: NDArray[Any] = column.indices.to_numpy(zero_copy_only=False)  # NaN for nulls
            counts = np.bincount(codes[codes >= 0].astype(np.int64), minlength=len(column.dictionary))
            found.update(dict(zip(column.dictionary.to_pylist(), counts.tolist(), strict=True)))
        return {value: n for value, n in sorted(found.items(), key=lambda item: (-item[1], item[0])) if n}

    def number_counts(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the distinct values of an integer column, ascending, and the cells per value; read in batches."""
        small, large = np.zeros(0, np.int64), []
        for column in self._batches(name):
            values = column.to_numpy(zero_copy_only=False)
            if column.null_count:  # nulls turned the integers into floats
                values = values[~np.isnan(values)].astype(np.int64)
            usual = (values >= 0) & (values < BATCH_ROWS)
            found = np.bincount(values if usual.all() else values[usual], minlength=len(small))
            found[: len(small)] += small
            small = found
            large.append(values[~usual])
        rare, times = np.unique(np.concatenate([np.zeros(0, np.int64), *large]), return_counts=True)
        known = np.flatnonzero(small)
        values, counts = np.concatenate([known, rare]), np.concatenate([small[known], times])
        order = np.argsort(values, kind="stable")
        return values[order], counts[order]

    def _batches(self, name: str, **options: Any) -> Iterator[Any]:
        """Read a column of instances in batches; not memory-mapped, so that batches are freed after use."""
        if self._pending:
            for batch in self.columns(name).to_batches():
                column = batch.column(0)
                yield column.dictionary_encode() if "read_dictionary" in options else column
            return
        file = pq.ParquetFile(self._snapshot.path("instances.parquet"), metadata=self._instances.metadata, **options)
        for batch in file.iter_batches(BATCH_ROWS, columns=[name], use_threads=False):
            yield batch.column(0)

    def _table(self, name: str) -> Table:
        file = f"{name}.parquet"
        if file not in self._snapshot:
            return Table(schema.empty(name))
        return Table(conformed(read_table(self._snapshot.path(file)), name))

    @cached_property
    def _instances(self) -> pq.ParquetFile:
        return pq.ParquetFile(self._snapshot.path("instances.parquet"), memory_map=True)

    @cached_property
    def _outline(self) -> pa.Table:
        """The ids, cell counts and sizes of all images, which are needed to read the cells of any image."""
        if "_stored_images" in self.__dict__:
            return self._stored_images
        return read_table(self._snapshot.path("images.parquet"), ["image_id", "n_instances", "height", "width"])

    @cached_property
    def _stored(self) -> tuple[list[int], list[int], list[int]]:
        """Index of instances.parquet: first row and first image of each row group, and first row of each image.

        Each list ends with the total.
        """
        counts = self._outline.column("n_instances").to_pylist()
        first = [0, *accumulate(counts)]
        meta, rows = self._instances.metadata, [0]
        for g in range(meta.num_row_groups):
            rows.append(rows[-1] + meta.row_group(g).num_rows)
        if first[-1] != rows[-1]:
            raise StoreError(
                f"{self.path}: images.parquet counts {first[-1]:,} cells, instances.parquet holds {rows[-1]:,}; "
                "expected the same. The store is damaged: make it again from its release."
            )
        images = [0, *(bisect_left(first, row, 0, len(counts)) for row in rows[1:-1]), len(counts)]
        return rows, images, first

    @cached_property
    def _index(self) -> tuple[list[str], dict[str, int], list[int]]:
        """Image ids, their positions, and the first row of each image, including pending changes."""
        ids = self._outline.column("image_id").to_pylist()
        first = self._stored[2]
        if self._pending:
            more = [self._pending.more.get(image_id, 0) for image_id in ids]
            first = [row + extra for row, extra in zip(first, [0, *accumulate(more)], strict=True)]
        return ids, {image: i for i, image in enumerate(ids)}, first

    def __getitem__(self, image_id: str) -> ImageView:
        self._position(image_id)  # raises if the image does not exist
        return ImageView(self, image_id)

    def image(self, image_id: str) -> Image:
        """Return the record of one image."""
        row = self.images.arrow.slice(self._position(image_id), 1).to_pylist()[0]
        return Image.from_row(row)

    def _position(self, image_id: str) -> int:
        try:
            return self._index[1][image_id]
        except KeyError:
            near = nearest(str(image_id), self._index[0])
            total = f"It has {len(self)} images, the first '{next(iter(self), '')}'."
            hint = total if near is None else f"Did you mean '{near}'?"
            raise NotFoundError(f"{self.path.name} has no image '{image_id}'. {hint}") from None

    def rows_of(self, image_id: str) -> pa.Table:
        """Read the instance rows of one image, from its row group only."""
        group, first, stop = self.place_of(image_id)
        return schema.empty("instances") if first == stop else self.group(group).table.slice(first, stop - first)

    def place_of(self, image_id: str) -> tuple[int, int, int]:
        """Locate the rows of an image: their row group, and their start and end in it."""
        position = self._position(image_id)
        _, images, _ = self._stored
        group = bisect_right(images, position, 0, len(images) - 1) - 1
        first = self._index[2]
        start = first[images[group]]
        return group, first[position] - start, first[position + 1] - start

    def group(self, group: int) -> Rows:
        """Read the instance rows of one row group, which holds whole images; the last groups are cached."""
        with self._lock:  # so that threads that need the same group read it once
            rows = self._groups.get(group)
            if rows is None:
                while len(self._groups) >= GROUPS_KEPT:
                    self._groups.pop(next(iter(self._groups)))
                rows = Rows(self._changed(group, self._read_group(group)))
                self._groups[group] = rows
            return rows

    def _read_group(self, group: int) -> pa.Table:
        if group >= self._instances.metadata.num_row_groups:  # a store without cells has none
            return schema.empty("instances")
        return self._instances.read_row_group(group, use_threads=False)

    def _changed(self, group: int, stored: pa.Table) -> pa.Table:
        """Return the rows of a row group with pending changes applied."""
        rows, images, first = self._stored
        positions = sorted(map(self._position, self._pending.cells)) if self._pending else []
        parts = []
        for p in (p for p in positions if images[group] <= p < images[group + 1]):
            start, stop = first[p] - rows[group], first[p + 1] - rows[group]
            parts.append((start, stop, self._pending.rows(self._index[0][p], stored.slice(start, stop - start))))
        return spliced(stored, parts) if parts else stored

    def instances_of(self, image_id: str) -> Instances:
        """View the cells of one image; columns are decoded on access."""
        position = self._position(image_id)
        size = self._sizes[0][position], self._sizes[1][position]
        group, first, stop = self.place_of(image_id)
        return Instances.empty(size) if first == stop else Instances.of_rows(self.group(group), first, stop, size)

    @cached_property
    def _sizes(self) -> tuple[list[int], list[int]]:
        return self._outline.column("height").to_pylist(), self._outline.column("width").to_pylist()

    def pixels_of(self, image: Image) -> NDArray[Any]:
        """Load the pixels of one image, from the release or from the store's own copy."""
        from celltable.imagefile import read_located

        try:
            return compose(image.pixels, lambda p: read_located(self.source_path(p.source), p.member, p.index))
        except InputError as exc:
            exc.add_note(f"while reading the pixels of image {image.image_id}")
            raise

    def source_path(self, key: str) -> Path:
        """Locate a source of pixels: at its recorded path, or at the same path relative to the store.

        Raises
        ------
        StoreError
            If dataset.json does not list the source, or it is in neither place.
        """
        if key == "":
            return self.path
        sources = self.description.sources
        if key not in sources:
            raise StoreError(f"{self.path}: dataset.json has no source '{key}'; expected one of {sorted(sources)}.")
        source = sources[key]
        for candidate in (Path(source.path), self.path.parent / (source.relative or source.path)):
            if candidate.exists():
                return candidate
        raise StoreError(
            f"The pixels of {self.path.name} were in {source.path}, which no longer exists. "
            f"Put it back, or at the same path relative to the store, or ingest again with --copy."
        )

    @cached_property
    def has_pixels(self) -> bool:
        """Whether the folder of the store contains pixels of its images."""
        return any(p["source"] == "" for row in self.images.column("pixels").to_pylist() for p in row or ())

    def samples(self, image_ids: Iterable[str] | None = None, *, skip_ignored: bool = False) -> Iterator[Sample]:
        """Yield all images (or those named) as Samples, in order, reading each row group once."""
        for image_id in self if image_ids is None else image_ids:
            view = self[image_id]
            if not (skip_ignored and view.image.ignore):
                yield view.sample

    def query(self, sql: str) -> Table:
        """Run SQL (DuckDB) over images, instances, findings, edits and scores.

        Raises
        ------
        InputError
            If the statement fails; the message is DuckDB's own.
        """
        changed = sorted(self._pending.cells)
        extra = {} if not changed else {"_changed": pa.concat_tables([self.rows_of(i) for i in changed])}
        return Table(run_query(sql, {name: self._view(name) for name in schema.TABLES}, extra))

    def _view(self, name: str) -> str | pa.Table:
        """Return DuckDB's source of a table: a select over its file, or the table if the file is not up to date."""
        file = f"{name}.parquet"
        if file not in self._snapshot:
            return self._pending.edits(schema.empty(name)) if name == "edits" else schema.empty(name)
        path = self._snapshot.path(file)
        if name == "instances":
            select = f"select * from read_parquet('{path}')"
            if not self._pending:
                return select
            rest = "where image_id not in (select distinct image_id from _changed)"
            return f"{select} {rest} union all by name select * from _changed"
        if pq.read_schema(path).names != schema.TABLES[name].names or (self._pending and name != "scores"):
            table: pa.Table = getattr(self, name).arrow
            return table
        return f"select * from read_parquet('{path}')"

    def update(self, tables: Mapping[str, Change], info: Mapping[str, Any] | None = None, *, done: str = "") -> Store:
        """Replace tables and fields of dataset.json in one atomic step and return the reopened store.

        Parameters
        ----------
        tables
            Name → the new table, or a function that makes it from the newest table on disk (so that what another
            process wrote meanwhile is not lost). Images and cells are sorted, and n_instances is recounted.
        info
            Fields of dataset.json to change.
        done
            A line for the history.

        Raises
        ------
        StoreError
            If another process changed one of the tables since this store was opened, or writing fails. The store is
            then unchanged.
        """
        update(self, tables, info or {}, done)
        return self.fresh()

    def edit(self, edits: pa.Table, *, done: str = "", compact: bool | None = None) -> Store:
        """Change cells: apply edits as one batch and return the reopened store.

        Parameters
        ----------
        edits
            Rows of the edits table; their ids, batch and generation are assigned here.
        done
            A line for the history.
        compact
            True rewrites instances.parquet; False appends a small file that celltable reads, which takes milliseconds
            whatever the size of the store (`Store.compact` rewrites later). None takes the cheaper way, but always
            rewrites small stores, so that other tools see the change.

        Raises
        ------
        StoreError
            If a cell differs from the edit's before state; nothing is changed in that case.
        """
        change_cells(self, edits, done, compact)
        return self.fresh()

    def verify(self, edits: pa.Table) -> None:
        """Raise StoreError unless every cell matches the before state of its edit."""
        verify(self, edits.to_pylist())

    def undo(self, *, compact: bool | None = None) -> pa.Table:
        """Undo the last batch of edits and return it; see `edit` for `compact`.

        Raises
        ------
        StoreError
            If there is nothing to undo, or a cell has changed since the batch.
        """
        return change_cells(self, None, "", compact)

    def last_batch(self) -> pa.Table:
        """Return the last batch of edits, empty if there are no edits."""
        import pyarrow.compute as pc

        batch = self._pending.last_batch()
        table = self.edits.arrow if batch is None else self._pending.edits(schema.empty("edits"))
        last = batch if batch is not None else max(table.column("batch").to_pylist(), default=0)
        return table.filter(pc.equal(table.column("batch"), last))

    def last_numbers(self) -> tuple[int, int]:
        """Return the highest edit_id and batch, (0, 0) without edits; the edits themselves are not read."""
        file = "edits.parquet"
        stored = read_table(self._snapshot.path(file), ["edit_id", "batch"]) if file in self._snapshot else None
        pending = self._pending.edits(schema.empty("edits")).select(["edit_id", "batch"])
        tables = [pending] if stored is None else [pending, stored.cast(pending.schema)]
        ids, batches = (
            [n for table in tables for n in table.column(name).to_pylist()] for name in ("edit_id", "batch")
        )
        return max(ids, default=0), max(batches, default=0)

    def with_pending(self, entry: Entry) -> Store:
        """Return the same generation with one more pending change, which is only in memory."""
        store = Store(self.path)
        store._pending = self._pending.plus(entry)
        return store

    def compact(self) -> Store:
        """Write pending changes of cells into instances.parquet, where other tools see them, and return the store."""
        fold(self)
        return self.fresh()


@dataclass(frozen=True, slots=True)
class StoreReference(work.Reference[Store]):
    """A store's path and the digest of its images and cells; findings and scores may change meanwhile."""

    path: str
    content: str

    def open(self) -> Store:
        """Open the store in this process.

        Raises
        ------
        StoreError
            If this machine cannot see it, or its images or cells have changed.
        """
        if not Path(self.path).exists():
            raise StoreError(
                f"{work.this_machine()} cannot see {self.path}; every worker needs the store at the same path, on "
                "a shared disk."
            )
        store = open_store(self.path)
        if store.content != self.content:
            raise StoreError(f"{self.path} was changed by another process in the meantime. Run the command again.")
        return store


def open_store(path: str | Path, generation: str | None = None) -> Store:
    """Open a store.

    Parameters
    ----------
    path
        The folder.
    generation
        The expected generation, if no other may be read.

    Raises
    ------
    StoreError
        If there is no store at `path`, or it is damaged, written by a newer celltable, or another generation.
    """
    store = Store(Path(path))
    if generation is not None and store.generation != generation:
        raise StoreError(
            f"{path} was changed by another process (generation {store.generation or 'of version 1'}, expected "
            f"{generation or 'of version 1'}). Run the command again."
        )
    return store


def as_store(store: Store | str | Path) -> Store:
    """Return an open store unchanged, or open the one at a path."""
    return store if isinstance(store, Store) else open_store(store)


def newest(store: Store | str | Path) -> Store:
    """Open the newest generation of a store, which other processes may have changed since it was opened."""
    return open_store(store.path if isinstance(store, Store) else store)
