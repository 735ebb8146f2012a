"""Columns of cells: everything known about each cell except its mask, decoded on access.

A column is one value for all cells (text or boolean), a sequence with one value per cell, or None. In an array of
floats, NaN is the same as None in a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from celltable import schema
from celltable.errors import InputError
from celltable.geometry.masks import RunLengths

from .rows import DEFAULTS, Rows, Where, picked, plain

Kind = Literal["nucleus", "cell"]
NAMES: Final = tuple(
    n for n in schema.INSTANCES.names if n not in ("image_id", "area", "rle") and not n.startswith("bbox")
)


class Columns:
    """Columns of `n` cells by name; missing ones have the schema's default or are None.

    Parameters
    ----------
    n
        The number of cells.
    values
        Columns by name.
    rows, where
        Rows of a store, and the positions of the cells in them; columns that are not in `values` are read from there.

    Raises
    ------
    InputError
        If a column is unknown or does not have one value per cell.

    >>> Columns(2, {"score": np.array([0.5, np.nan])}).listed("score")
    [0.5, None]
    """

    __slots__ = ("_rows", "_values", "_where", "n")

    def __init__(self, n: int, values: Mapping[str, Any], rows: Rows | None = None, where: Where = slice(0)) -> None:
        for name, value in values.items():
            if name not in NAMES:
                raise InputError(f"cells have no column '{name}'; expected one of {', '.join(NAMES)}")
            if not plain(value) and len(value) != n:
                raise InputError(f"column {name} has {len(value)} values for {n} instances; expected one per instance")
        self.n = n
        self._values = dict(values)
        self._rows = rows
        self._where = where

    def raw(self, name: str) -> Any:
        """Return the stored column: as in `get`, or as an Arrow array that is not decoded yet."""
        if name not in self._values:
            if name not in NAMES:
                raise InputError(f"cells have no column '{name}'; expected one of {', '.join(NAMES)}")
            default = DEFAULTS.get(name)
            self._values[name] = default if self._rows is None else self._rows.part(name, self._where)
        return self._values[name]

    def get(self, name: str) -> Any:
        """Return the column: one value for all cells, a list or array with one value per cell, or None."""
        value = self.raw(name)
        if isinstance(value, pa.Array):
            self._values[name] = value = value.to_pylist()
        return value

    def listed(self, name: str) -> list[Any]:
        """Expand a column to one value per cell, with None for missing values."""
        value = self.get(name)
        if isinstance(value, np.ndarray):
            return _listed(value)
        return [value] * self.n if plain(value) else list(value)

    def floats(self, name: str) -> NDArray[np.float64] | None:
        """Return a numeric column as float64 (n,) or (n, k), with NaN for missing values; None if all are missing."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, np.ndarray):
            width = next((len(v) for v in value if v is not None and not np.isscalar(v)), 0)
            value = [([np.nan] * width if width else np.nan) if v is None else v for v in value]
        array = np.asarray(value, np.float64)
        return None if np.isnan(array).all() else array

    def flags(self, name: str) -> NDArray[np.bool_] | None:
        """Return a boolean column as bool (n,); None if no value is set."""
        value = self.get(name)
        if value is None or value is False:
            return None
        flags = np.full(self.n, True) if value is True else np.asarray(value, bool)
        return flags if flags.any() else None

    def codes(self, name: str, vocabulary: tuple[str, ...]) -> NDArray[np.int64]:
        """Return the positions of a text column's values in `vocabulary`, int64 (n,); -1 for None and other values."""
        if self._rows is not None and name not in self._values:
            return self._rows.codes(name, vocabulary)[self._where]
        index = {word: k for k, word in enumerate(vocabulary)}
        return np.array([index.get(value, -1) for value in self.listed(name)], np.int64)

    def picked(self, where: Where) -> Columns:
        """Select some of the cells, by slice or by positions in any order."""
        n = len(range(self.n)[where]) if isinstance(where, slice) else len(where)
        values = {name: picked(value, where) for name, value in self._values.items()}
        if self._rows is None:
            return Columns(n, values)
        at = np.arange(*self._where.indices(self._rows.n)) if isinstance(self._where, slice) else self._where
        return Columns(n, values, self._rows, at[where])

    def replaced(self, values: Mapping[str, Any]) -> Columns:
        """Replace some of the columns."""
        return Columns(self.n, {**self._values, **values}, self._rows, self._where)

    def __iter__(self) -> Iterator[str]:
        """List the columns that are neither None nor the default."""
        return (name for name in NAMES if not self._silent(name))

    def _silent(self, name: str) -> bool:
        value = self.raw(name)
        return bool(plain(value) and value == DEFAULTS.get(name))

    def __reduce__(self) -> tuple[Any, ...]:
        return Columns, (self.n, {name: self.get(name) for name in NAMES})


def joined(parts: Sequence[Columns]) -> dict[str, Any]:
    """Concatenate the columns of several groups of cells, without their ids."""
    columns = {}
    for name in NAMES:
        values = [part.get(name) for part in parts]
        if name == "instance_id" or all(v is None for v in values):
            continue
        if all(plain(v) and v == values[0] for v in values):
            columns[name] = values[0]
        elif all(isinstance(v, np.ndarray) and v.ndim == 1 for v in values):
            columns[name] = np.concatenate(values)
        else:
            columns[name] = [v for part in parts for v in part.listed(name)]
    return columns


def column_array(parts: Sequence[Columns], field: pa.Field) -> pa.Array:
    """Encode a column of several groups of cells as one Arrow array."""
    values, n = [part.raw(field.name) for part in parts], sum(part.n for part in parts)
    if all(v is None for v in values):
        return pa.nulls(n, field.type)
    first = values[0]
    if isinstance(first, str | bool) and all(isinstance(v, str | bool) and v == first for v in values):
        return pa.repeat(pa.scalar(first, field.type), n)
    if all(v is None or (isinstance(v, np.ndarray) and v.dtype == np.float64) for v in values):
        return _float_array(values, field, [part.n for part in parts])
    if all(isinstance(v, RunLengths) for v in values):
        return RunLengths.joined(values).to_arrow()
    if all(v is None or isinstance(v, pa.Array) for v in values):
        filled = [pa.nulls(p.n, field.type) if v is None else v for p, v in zip(parts, values, strict=True)]
        return pa.concat_arrays([v if v.type == field.type else v.cast(field.type) for v in filled])
    if all(isinstance(v, np.ndarray) and v.dtype.kind in "biu" for v in values):
        return pa.array(np.concatenate(values), field.type)
    return pa.array([v for part in parts for v in part.listed(field.name)], field.type)


def _float_array(values: list[Any], field: pa.Field, lengths: list[int]) -> pa.Array:
    """Encode floats, or lists of floats of one length, from arrays in which NaN is null."""
    width = next(v.shape[1:] for v in values if v is not None)
    parts = []
    for value, n in zip(values, lengths, strict=True):
        part = np.full((n, *width), np.nan) if value is None else value
        if part.shape != (n, *width):
            raise InputError(f"column {field.name} has {part.shape} values for {n} instances; expected {(n, *width)}")
        parts.append(part)
    joined = np.concatenate(parts)
    if not width:
        return pa.array(joined, field.type, mask=np.isnan(joined))
    absent = np.isnan(joined).any(axis=1)
    ends = np.cumsum([0, *np.where(absent, 0, width[0]).tolist()], dtype=np.int32)
    flat = pa.array(joined[~absent].ravel())
    return pa.ListArray.from_arrays(pa.array(ends), flat, field.type, mask=pa.array(absent) if absent.any() else None)


def _listed(values: NDArray[Any]) -> list[Any]:
    listed: list[Any] = values.tolist()
    if values.dtype.kind != "f":
        return listed
    absent = np.isnan(values) if values.ndim == 1 else np.isnan(values).any(axis=1)
    return [None if gone else v for v, gone in zip(listed, absent.tolist(), strict=True)] if absent.any() else listed
