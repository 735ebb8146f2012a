"""A dataset on disk: a folder of Parquet files and one JSON that any tool reads, opened lazily, replaced atomically.

``open_store(path)`` reads it, ``StoreWriter`` makes one image after image and resumes where it was interrupted, and
``Store.update`` replaces tables: a new folder is built beside the old one and the two are exchanged in one step, so a
reader or a crash never sees half of a change.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from celltable import schema
from celltable.cells import Image, Instances, Sample, compose
from celltable.disk import exchange, locked, plain_os_errors, staging
from celltable.errors import InputError, NotFoundError, StoreError

from ._tables import aligned, read_table, write_info, write_instances, write_table
from ._views import ImageView, Table
from ._writer import StoreWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray


GROUPS_KEPT = 16  # row groups held in memory: about 64,000 cells
BATCH_ROWS = 1 << 16  # of a column that is counted

__all__ = ["ImageView", "Store", "StoreWriter", "Table", "open_store"]


class Store:
    """A dataset on disk, read lazily; use `open_store`."""

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path, self.info = path, info
        self._groups: dict[int, pa.Table] = {}
        self._lock = threading.Lock()  # a ParquetFile must be read by one thread at a time

    def __repr__(self) -> str:
        return f"<celltable store {self.path.name}: {len(self)} images>"

    def __len__(self) -> int:
        return len(self._index[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index[0])

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._index[1]

    @property
    def name(self) -> str:
        """Name of the data set."""
        return str(self.info.get("name", self.path.stem))

    @cached_property
    def images(self) -> Table:
        """One row an image."""
        return Table(read_table(self.path / "images.parquet"))

    @cached_property
    def instances(self) -> Table:
        """One row a cell, sorted by image; reads all of it (`columns` reads some)."""
        return self.columns()

    @property
    def findings(self) -> Table:
        """One row a defect, as the reader and `check` found them."""
        return self._optional("findings")

    @property
    def edits(self) -> Table:
        """One row a repair of a cell."""
        return self._optional("edits")

    @property
    def scores(self) -> Table:
        """One row a number, as `evaluate` wrote them."""
        return self._optional("scores")

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
        file = pq.ParquetFile(self.path / "instances.parquet", metadata=self._instances.metadata, **options)
        for batch in file.iter_batches(BATCH_ROWS, columns=[name], use_threads=False):
            yield batch.column(0)

    def _optional(self, name: str) -> Table:
        path = self.path / f"{name}.parquet"
        return Table(read_table(path) if path.exists() else schema.empty(name))

    @cached_property
    def _instances(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path / "instances.parquet", memory_map=True)

    @cached_property
    def _outline(self) -> pa.Table:
        """What the cells of an image cannot be read without: the ids, counts and sizes of all images."""
        if "images" in self.__dict__:
            return self.images.arrow
        return read_table(self.path / "images.parquet", ["image_id", "n_instances", "height", "width"])

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
            import difflib

            near = difflib.get_close_matches(str(image_id), self._index[0], n=1)
            hint = (
                f"Did you mean '{near[0]}'?"
                if near
                else f"It has {len(self)} images, the first '{next(iter(self), '')}'."
            )
            raise NotFoundError(f"{self.path.name} has no image '{image_id}'. {hint}") from None

    def rows_of(self, image_id: str) -> pa.Table:
        """The instance rows of one image, read from its row group only."""
        group, first, stop = self.place_of(image_id)
        return schema.empty("instances") if first == stop else self.group(group).slice(first, stop - first)

    def place_of(self, image_id: str) -> tuple[int, int, int]:
        """Where the rows of an image are: its row group, the first of them in it, and the one behind the last."""
        position = self._position(image_id)
        _, _, first, groups = self._index
        start, stop = first[position], first[position + 1]
        group = bisect_right(groups, start) - 1 if start < stop else 0
        return group, start - groups[group], stop - groups[group]

    def group(self, group: int) -> pa.Table:
        """The instance rows of one row group, which holds some images whole; the last ones asked for are kept."""
        found = self._groups.get(group)
        if found is None:
            with self._lock:
                while len(self._groups) >= GROUPS_KEPT:
                    self._groups.pop(next(iter(self._groups)), None)
                found = self._instances.read_row_group(group, use_threads=False).combine_chunks()
                self._groups[group] = found
        return found

    def instances_of(self, image_id: str) -> Instances:
        """The cells of one image as columns."""
        position = self._position(image_id)
        sizes = self._sizes
        return Instances.from_arrow(self.rows_of(image_id), (sizes[0][position], sizes[1][position]))

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
        """Where a source of pixels lies now: where it was, or at the same place relative to the store."""
        if key == "":
            return self.path
        source = self.info.get("sources", {}).get(key)
        if source is None:
            raise StoreError(
                f"{self.path}: dataset.json names no source '{key}'; "
                f"expected one of {sorted(self.info.get('sources', {}))}."
            )
        for candidate in (Path(source["path"]), self.path.parent / source.get("relative", source["path"])):
            if candidate.exists():
                return candidate
        raise StoreError(
            f"The pixels of {self.path.name} were in {source['path']}, which is not there now. "
            f"Put it back, beside the store, or ingest again with --copy."
        )

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
        import duckdb

        with duckdb.connect() as db:
            for name in schema.TABLES:
                path = self.path / f"{name}.parquet"
                if path.exists():
                    text = str(path).replace("'", "''")
                    db.execute(f"create view {name} as select * from read_parquet('{text}')")
                else:
                    db.register(name, schema.empty(name))
            try:
                relation = db.sql(sql)
                if relation is None:
                    raise InputError("the query returns no rows; expected a select over images, instances, findings, …")
                return Table(relation.to_arrow_table())
            except duckdb.Error as exc:
                raise InputError(f"the query does not run: {_reason(exc)}") from exc

    def update(self, tables: Mapping[str, pa.Table], info: Mapping[str, Any] | None = None, *, done: str = "") -> Store:
        """Replace some tables and entries of dataset.json in one atomic step; returns the store opened anew.

        `done` is a line for the history in dataset.json. With new instances, n_instances of images is recounted.
        """
        with locked(self.path), plain_os_errors(self.path), staging(self.path) as folder:
            _link_files(self.path, folder, skip={f"{name}.parquet" for name in tables} | {"dataset.json"})
            changed = dict(tables)
            if "instances" in changed and "images" not in changed:
                changed["images"] = self.images.arrow
            if "instances" in changed or "images" in changed:
                instances = changed.get("instances", self.instances.arrow if "images" in tables else None)
                changed["images"], changed["instances"] = aligned(changed["images"], instances)
            for name, table in changed.items():
                target = folder / f"{name}.parquet"
                target.unlink(missing_ok=True)
                if name == "instances":
                    write_instances(target, changed["images"], [table])
                else:
                    write_table(target, table)
            history = [*self.info.get("history", []), *([done] if done else [])]
            write_info(folder, {**self.info, **(info or {}), "history": history})
            exchange(folder, self.path)
        return open_store(self.path)


def open_store(path: str | Path) -> Store:
    """Open a dataset folder.

    Raises
    ------
    StoreError
        If there is none at `path`, it is damaged, or a newer celltable wrote it.
    """
    folder = Path(path)
    text = _read_info(folder)
    try:
        info = json.loads(text)
    except ValueError as exc:
        raise StoreError(
            f"{folder / 'dataset.json'} is not JSON ({exc}). Make the store again from its release."
        ) from exc
    version = info.get("schema_version") if isinstance(info, dict) else None
    if not isinstance(version, int):
        raise StoreError(
            f"{folder / 'dataset.json'} names no schema_version; expected a dataset.json that celltable wrote."
        )
    if version > schema.VERSION:
        raise StoreError(
            f"{folder} has schema version {version}; this celltable reads up to {schema.VERSION}. Upgrade celltable."
        )
    return Store(folder, info)


def _read_info(folder: Path) -> str:
    try:
        return (folder / "dataset.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise StoreError(
            f"{folder} is a file; expected a celltable folder. Make one: celltable ingest NAME {folder} OUT.celltable"
        ) from None
    if folder.with_name(folder.name + ".incomplete").exists():
        raise StoreError(f"{folder} was not finished: run the same command again and it goes on where it stopped.")
    found = "a folder without dataset.json" if folder.is_dir() else "nothing"
    raise StoreError(
        f"{folder}: expected a celltable folder, found {found}. "
        f"Make one with: celltable ingest NAME RELEASE {folder.name}"
    )


def _link_files(old: Path, new: Path, skip: set[str]) -> None:
    import os
    import shutil

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


def _reason(exc: Exception) -> str:
    """DuckDB's words; for an unknown table, with ours in place of the nearest of DuckDB's own."""
    text = str(exc)
    if not text.startswith("Catalog Error: Table with name"):
        return text
    return f"{text.splitlines()[0]} There are: {', '.join(schema.TABLES)}."
