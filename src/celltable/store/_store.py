"""A store that is open: one generation of it, read lazily."""

from __future__ import annotations

import threading
from bisect import bisect_right
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

from ._query import run_query
from ._snapshot import Snapshot
from ._tables import conformed, read_table
from ._update import CELLS, Change, digest, sha256_of, update
from ._views import ImageView, Table
from .description import Description

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS_KEPT = 16  # row groups held in memory: about 64,000 cells
BATCH_ROWS = 1 << 16  # of a column that is counted


class Store:
    """One generation of a dataset on disk, read lazily; made by `open_store`.

    All tables come from the generation that was opened, also after another process replaced the folder; `fresh` opens
    the newest. A store pickles as a `StoreReference`: another process opens it once, under the same path.
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

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._index[1]

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.description.name or self.path.stem

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """dataset.json as plain values; `description` is the same, typed."""
        return self.description.to_dict()

    @property
    def reference(self) -> StoreReference:
        """What another process opens this store by."""
        return StoreReference(str(self.path.resolve()), self.content)

    @property
    def generation(self) -> str:
        """Which write made the store what it is: a counter and a digest; empty for a store of version 1."""
        return self.description.generation

    @property
    def content(self) -> str:
        """Digest of images and cells: the same as long as these are, whatever is written beside them."""
        return self.description.content or digest(*(self.digest(name) for name in CELLS))

    def digest(self, table: str) -> str:
        """Return the SHA-256 of the file of a table."""
        if table in self.description.tables:
            return self.description.tables[table].sha256
        return sha256_of(self._snapshot.path(f"{table}.parquet"))

    @property
    def is_stale(self) -> bool:
        """Whether the store on disk is another generation by now, or gone."""
        try:
            return Snapshot(self.path).description.generation != self.generation
        except StoreError:
            return True

    def fresh(self) -> Store:
        """Open the newest generation."""
        return open_store(self.path)

    @cached_property
    def images(self) -> Table:
        """One row per image."""
        return self._table("images")

    @cached_property
    def instances(self) -> Table:
        """One row per cell, sorted by image; reads all of it (`columns` reads some)."""
        return self.columns()

    @property
    def findings(self) -> Table:
        """One row per defect, as the reader and `check` found them."""
        return self._table("findings")

    @property
    def edits(self) -> Table:
        """One row per repair of a cell."""
        return self._table("edits")

    @property
    def scores(self) -> Table:
        """One row per number, as `evaluate` wrote them."""
        return self._table("scores")

    def columns(self, *names: str) -> Table:
        """Some columns of instances (all without names), without reading the others."""
        with self._lock:
            return Table(self._instances.read(columns=list(names) or None))

    def value_counts(self, name: str) -> dict[str, int]:
        """How many cells have each value of a text column of instances, the most frequent first; nulls are left out."""
        found: Counter[str] = Counter()
        for column in self._batches(name, read_dictionary=[name]):
            if column.null_count == len(column):
                continue
            codes: NDArray[Any] = column.indices.to_numpy(zero_copy_only=False)  # NaN where some are null
            counts = np.bincount(codes[codes >= 0].astype(np.int64), minlength=len(column.dictionary))
            found.update(dict(zip(column.dictionary.to_pylist(), counts.tolist(), strict=True)))
        return {value: n for value, n in sorted(found.items(), key=lambda item: (-item[1], item[0])) if n}

    def number_counts(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Distinct values of a column of whole numbers, ascending, and how many cells have each; read in batches."""
        small, large = np.zeros(0, np.int64), []
        for column in self._batches(name):
            values = column.to_numpy(zero_copy_only=False)
            if column.null_count:  # nulls have made floats of the numbers
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
        """A column of instances, batch by batch; read rather than mapped, so that what was read does not stay."""
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
        """What the cells of an image cannot be read without: the ids, counts and sizes of all images."""
        if "images" in self.__dict__:
            return self.images.arrow
        return read_table(self._snapshot.path("images.parquet"), ["image_id", "n_instances", "height", "width"])

    @cached_property
    def _index(self) -> tuple[list[str], dict[str, int], list[int], list[int]]:
        """Image ids, their positions, first instance row of each image, first row of each row group."""
        ids = self._outline.column("image_id").to_pylist()
        first = [0, *accumulate(self._outline.column("n_instances").to_pylist())]
        meta, groups = self._instances.metadata, [0]
        for g in range(meta.num_row_groups):
            groups.append(groups[-1] + meta.row_group(g).num_rows)
        if first[-1] != groups[-1]:
            raise StoreError(
                f"{self.path}: images.parquet counts {first[-1]:,} cells, instances.parquet holds {groups[-1]:,}; "
                "expected the same. The store is damaged: make it again from its release."
            )
        return ids, {image: i for i, image in enumerate(ids)}, first, groups

    def __getitem__(self, image_id: str) -> ImageView:
        self._position(image_id)  # an image that is not there is refused here
        return ImageView(self, image_id)

    def image(self, image_id: str) -> Image:
        """The record of one image."""
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
        """The instance rows of one image, read from its row group only."""
        group, first, stop = self.place_of(image_id)
        return schema.empty("instances") if first == stop else self.group(group).table.slice(first, stop - first)

    def place_of(self, image_id: str) -> tuple[int, int, int]:
        """Where the rows of an image are: its row group, the first of them in it, and the one behind the last."""
        position = self._position(image_id)
        _, _, first, groups = self._index
        start, stop = first[position], first[position + 1]
        group = bisect_right(groups, start) - 1 if start < stop else 0
        return group, start - groups[group], stop - groups[group]

    def group(self, group: int) -> Rows:
        """Read the instance rows of one row group, which holds some images whole; the last ones asked for are kept."""
        with self._lock:  # so that threads that want the same group read it once
            found = self._groups.get(group)
            if found is None:
                while len(self._groups) >= GROUPS_KEPT:
                    self._groups.pop(next(iter(self._groups)))
                found = Rows(self._instances.read_row_group(group, use_threads=False))
                self._groups[group] = found
            return found

    def instances_of(self, image_id: str) -> Instances:
        """View the cells of one image; columns are decoded when they are asked for."""
        position = self._position(image_id)
        size = self._sizes[0][position], self._sizes[1][position]
        group, first, stop = self.place_of(image_id)
        return Instances.empty(size) if first == stop else Instances.of_rows(self.group(group), first, stop, size)

    @cached_property
    def _sizes(self) -> tuple[list[int], list[int]]:
        return self._outline.column("height").to_pylist(), self._outline.column("width").to_pylist()

    def pixels_of(self, image: Image) -> NDArray[Any]:
        """The pixels of one image, from the release or from the store's own copy."""
        from celltable.imagefile import read_located

        try:
            return compose(image.pixels, lambda p: read_located(self.source_path(p.source), p.member, p.index))
        except InputError as exc:
            exc.add_note(f"while reading the pixels of image {image.image_id}")
            raise

    def source_path(self, key: str) -> Path:
        """Return where a source of pixels is now: where it was, or at the same place relative to the store.

        Raises
        ------
        StoreError
            If dataset.json does not name the source, or it is in neither place.
        """
        if key == "":
            return self.path
        sources = self.description.sources
        if key not in sources:
            raise StoreError(f"{self.path}: dataset.json names no source '{key}'; expected one of {sorted(sources)}.")
        source = sources[key]
        for candidate in (Path(source.path), self.path.parent / (source.relative or source.path)):
            if candidate.exists():
                return candidate
        raise StoreError(
            f"The pixels of {self.path.name} were in {source.path}, which is not there now. "
            f"Put it back, beside the store, or ingest again with --copy."
        )

    @cached_property
    def has_pixels(self) -> bool:
        """Whether the folder of the store contains pixels of its images."""
        return any(p["source"] == "" for row in self.images.column("pixels").to_pylist() for p in row or ())

    def samples(self, image_ids: Iterable[str] | None = None, *, skip_ignored: bool = False) -> Iterator[Sample]:
        """Every image (or those named) as a Sample, in order, reading each row group once."""
        for image_id in self if image_ids is None else image_ids:
            view = self[image_id]
            if not (skip_ignored and view.image.ignore):
                yield view.sample

    def query(self, sql: str) -> Table:
        """Run SQL (DuckDB) over images, instances, findings, edits and scores.

        Raises
        ------
        InputError
            If the statement does not run; the message is DuckDB's own.
        """
        return Table(run_query(sql, {name: self._view(name) for name in schema.TABLES}))

    def _view(self, name: str) -> str | pa.Table:
        """Return a file that DuckDB reads for a table, or the table itself where no file is exactly it."""
        file = f"{name}.parquet"
        if file not in self._snapshot:
            return schema.empty(name)
        path = self._snapshot.path(file)
        whole = pq.read_schema(path).names == schema.TABLES[name].names
        return path if whole else self._table(name).arrow

    def update(self, tables: Mapping[str, Change], info: Mapping[str, Any] | None = None, *, done: str = "") -> Store:
        """Replace some tables and fields of dataset.json in one atomic step and return the store, opened again.

        Parameters
        ----------
        tables
            Name → the new table, or a function that makes it of the newest table on disk (so that what another process
            wrote meanwhile is not lost). Images and cells are sorted, and n_instances is counted again.
        info
            Fields of dataset.json to change.
        done
            A line for the history.

        Raises
        ------
        StoreError
            If another process changed one of the tables since this store was opened, or the disk refuses. The store
            is then as it was.
        """
        update(self, tables, info or {}, done)
        return self.fresh()


@dataclass(frozen=True, slots=True)
class StoreReference(work.Reference[Store]):
    """A store by its path and the digest of its images and cells: findings and scores may be written meanwhile."""

    path: str
    content: str

    def open(self) -> Store:
        """Open the store in this process.

        Raises
        ------
        StoreError
            If this machine does not see it, or its images or cells were changed.
        """
        if not Path(self.path).exists():
            raise StoreError(
                f"{work.this_machine()} does not see {self.path}; every worker needs the store under the same path, on "
                "a shared disk."
            )
        store = open_store(self.path)
        if store.content != self.content:
            raise StoreError(f"{self.path} was changed by another process meanwhile. Run the command again.")
        return store


def open_store(path: str | Path, generation: str | None = None) -> Store:
    """Open a dataset folder.

    Parameters
    ----------
    path
        The folder.
    generation
        The generation that is expected, where another one must not be read instead.

    Raises
    ------
    StoreError
        If there is no store at `path`, it is damaged, a newer celltable wrote it, or it is another generation.
    """
    store = Store(Path(path))
    if generation is not None and store.generation != generation:
        raise StoreError(
            f"{path} was changed by another process (generation {store.generation or 'of version 1'}, expected "
            f"{generation or 'of version 1'}). Run the command again."
        )
    return store


def as_store(store: Store | str | Path) -> Store:
    """Return an open store as it is, or open the one at a path."""
    return store if isinstance(store, Store) else open_store(store)


def newest(store: Store | str | Path) -> Store:
    """Open the newest generation of a store: other processes may have changed it since it was opened."""
    return open_store(store.path if isinstance(store, Store) else store)
