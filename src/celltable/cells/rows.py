"""Rows of the instances table as read from a store, with each column decoded at most once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from celltable.geometry.masks import Masks, RunLengths

Column = Sequence[Any] | NDArray[Any]
Where = slice | NDArray[np.intp]
DEFAULTS: Final[Mapping[str, Any]] = {"kind": "nucleus", "ignore": False, "crowd": False, "truncated": False}


class Rows:
    """Rows of the instances table of one or more images, with each column decoded at most once.

    `Instances` made from slices of it are views: their numbers and masks are not copied.
    """

    def __init__(self, table: pa.Table | pa.RecordBatch) -> None:
        self.n = int(table.num_rows)
        self.table = table.combine_chunks() if isinstance(table, pa.Table) else table
        self._arrays: dict[str, pa.Array] = {}
        self._columns: dict[str, Any] = {}
        self._codes: dict[tuple[str, tuple[str, ...]], NDArray[np.int64]] = {}

    def masks(self, first: int, stop: int, size: tuple[int, int]) -> Masks:
        """Return the masks of rows `first` to ``stop - 1`` (one image of `size`), with areas and boxes."""
        data, offsets, areas, boxes = self._masks
        return Masks(data, offsets[first : stop + 1], size, areas[first:stop], boxes[first:stop])

    @cached_property
    def _masks(self) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        areas = np.asarray(self.array("area").to_numpy(zero_copy_only=False), np.int64)
        sides = [self.array(f"bbox_{side}").to_numpy(zero_copy_only=False) for side in "xywh"]
        lengths = RunLengths.from_arrow(self.array("rle"))
        return lengths.data, lengths.offsets, areas, np.stack(sides, axis=1).astype(np.int32, copy=False)

    def array(self, name: str) -> pa.Array:
        """Return a column as one Arrow array."""
        if name not in self._arrays:
            column = self.table.column(name)
            if isinstance(column, pa.ChunkedArray):
                column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
            self._arrays[name] = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        return self._arrays[name]

    def part(self, name: str, where: Where) -> Any:
        """Return a column of some of the rows; None if all values are null, the default if all are the default."""
        if name not in self._columns:
            self._columns[name] = self._decoded(name)
        value = picked(self._columns[name], where)
        return value if plain(value) else reduced(value, DEFAULTS.get(name))

    def codes(self, name: str, vocabulary: tuple[str, ...]) -> NDArray[np.int64]:
        """Return the positions of a text column's values in `vocabulary`, int64 (n,); -1 for null and other values."""
        key = (name, vocabulary)
        if key not in self._codes:
            encoded = self.array(name).dictionary_encode()
            index = {word: k for k, word in enumerate(vocabulary)}
            table = np.array([*(index.get(word, -1) for word in encoded.dictionary.to_pylist()), -1], np.int64)
            self._codes[key] = table[encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)]
        return self._codes[key]

    def _decoded(self, name: str) -> Any:
        if name not in self.table.schema.names:
            return DEFAULTS.get(name)
        array = self.array(name)
        if array.null_count == self.n:
            return DEFAULTS.get(name)
        if pa.types.is_boolean(array.type) or pa.types.is_floating(array.type):
            return reduced(array.to_numpy(zero_copy_only=False), DEFAULTS.get(name))
        if pa.types.is_integer(array.type) and not array.null_count:
            return array.to_numpy()
        if name == "published_bbox":
            return _boxes(array)
        if pa.types.is_binary(array.type) or pa.types.is_list(array.type):
            return array  # decoded cell by cell on access
        return reduced(array.to_pylist(), DEFAULTS.get(name))


def plain(value: Any) -> bool:
    """Whether a column has one value for all cells."""
    return value is None or isinstance(value, str | bool | bytes)


def picked(value: Any, where: Where) -> Any:
    """Return a column of some of the cells."""
    if plain(value):
        return value
    if isinstance(value, pa.Array):
        if isinstance(where, slice):
            start, stop, _ = where.indices(len(value))
            return value.slice(start, max(0, stop - start))
        return value.take(pa.array(where))
    if isinstance(value, np.ndarray) or isinstance(where, slice):
        return value[where]
    if isinstance(value, RunLengths):
        return value.take(where)
    return [value[k] for k in where.tolist()]


def reduced(values: Any, default: Any) -> Any:
    """Return None if all values are null, or the default if all values are the default."""
    if isinstance(values, np.ndarray):
        if values.dtype == bool:
            return values if values.any() or default is not False else False
        return None if values.dtype.kind == "f" and np.isnan(values).all() else values
    if isinstance(values, pa.Array):
        return None if values.null_count == len(values) else values
    if default is not None:
        return default if all(v == default for v in values) else values
    return values if any(v is not None for v in values) else None


def _boxes(array: pa.Array) -> Any:
    """Return a column of four-number lists as float64 (n, 4) with NaN for null, or as a list if lengths differ."""
    lengths = np.where(array.is_null().to_numpy(zero_copy_only=False), 0, np.diff(array.offsets.to_numpy()))
    given = lengths > 0
    if (lengths[given] != 4).any():
        return array.to_pylist()
    boxes = np.full((len(array), 4), np.nan)
    boxes[given] = array.flatten().to_numpy(zero_copy_only=False).reshape(-1, 4)
    return boxes
