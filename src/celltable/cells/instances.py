"""The cells of one image as columns, and many images' cells as rows of the instances table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from celltable import schema
from celltable.errors import InputError

if TYPE_CHECKING:
    from celltable.geometry.rle import Flattened

Kind = Literal["nucleus", "cell"]
Column = Sequence[Any] | NDArray[Any]
_DEFAULTS: dict[str, Any] = {"kind": "nucleus", "ignore": False, "crowd": False, "truncated": False}


@dataclass(frozen=True, slots=True)
class Instances:
    """The cells of one image as columns; `rle`, `area` and `bbox` have one entry a cell.

    Every other column is one value for all cells, or a sequence with one value a cell; in an array of floats NaN is
    what None is in a list. `rle` holds compressed COCO counts as bytes of a mask of `size` (height, width); `bbox` is
    int32 (n, 4): x, y, width, height of the tight box (0, 0, 0, 0 for an empty mask); `area` counts pixels.
    `instance_id` defaults to 1..n.
    """

    size: tuple[int, int]
    rle: Sequence[bytes]
    area: NDArray[np.int64]
    bbox: NDArray[np.int32]
    instance_id: Column | None = None
    kind: Kind | Column = "nucleus"
    parent: Column | None = None
    class_name: str | Column | None = None
    class_names: Column | None = None
    class_scores: Column | None = None
    polygon: Column | None = None
    published_area: Column | None = None
    published_bbox: Column | None = None
    score: Column | None = None
    ignore: bool | Column = False
    crowd: bool | Column = False
    truncated: bool | Column = False
    annotator: str | Column | None = None
    source_id: Column | None = None

    def __len__(self) -> int:
        return len(self.rle)

    @property
    def ids(self) -> NDArray[np.int32]:
        """instance_id of each cell, int32 (n,)."""
        if self.instance_id is None:
            return np.arange(1, len(self) + 1, dtype=np.int32)
        return np.asarray(self.instance_id, dtype=np.int32)

    @classmethod
    def empty(cls, size: tuple[int, int]) -> Instances:
        """No cells."""
        return cls(size, [], np.zeros(0, np.int64), np.zeros((0, 4), np.int32))

    @classmethod
    def from_rle(cls, rle: Sequence[bytes], size: tuple[int, int], **columns: Any) -> Instances:
        """Cells from compressed COCO counts; areas and boxes are computed."""
        from celltable.geometry import rle as rles

        counts = list(rle)
        return cls(size, counts, *rles.measure(counts, size), **columns)

    @classmethod
    def from_label_map(cls, label_map: ArrayLike, **columns: Any) -> Instances:
        """Cells of a label map (0 = background) in ascending label order; `source_id` defaults to the labels."""
        from celltable.geometry import rle as rles

        found = rles.from_label_map(np.asarray(label_map))
        columns.setdefault("source_id", [str(i) for i in found.ids.tolist()])
        shape = np.shape(label_map)
        return cls((int(shape[0]), int(shape[1])), found.counts, found.areas, found.boxes, **columns)

    @classmethod
    def from_masks(cls, masks: Iterable[ArrayLike], size: tuple[int, int], **columns: Any) -> Instances:
        """Cells from boolean masks of the full image, which may overlap."""
        from celltable.geometry import rle as rles

        return cls.from_rle([rles.encode(np.asarray(m)) for m in masks], size, **columns)

    def column(self, name: str) -> list[Any]:
        """One value a cell of any column, scalars repeated, None where there is none."""
        value = getattr(self, name) if name != "instance_id" else self.ids
        if isinstance(value, np.ndarray):
            return _listed(value)
        if value is None or isinstance(value, str | bool | bytes):
            return [value] * len(self)
        if len(value) != len(self):
            raise InputError(f"column {name} has {len(value)} values for {len(self)} instances; expected one each")
        return list(value)

    def take(self, indices: ArrayLike) -> Instances:
        """The cells at `indices` (positions, or a boolean mask), in that order, their ids kept."""
        picked = np.asarray(indices)
        where = np.flatnonzero(picked) if picked.dtype == bool else picked.astype(np.intp)
        columns: dict[str, Any] = {"instance_id": self.ids[where]}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ("size", "instance_id") or value is None or isinstance(value, str | bool):
                continue
            columns[f.name] = value[where] if isinstance(value, np.ndarray) else [value[i] for i in where.tolist()]
        return replace(self, **columns)

    def with_columns(self, **columns: Any) -> Instances:
        """A copy with some columns replaced."""
        return replace(self, **columns)

    def label_map(self, policy: str = "last-wins") -> Flattened:
        """Flatten into a label map of instance_ids, with a named overlap policy; the result states what was lost."""
        from celltable.geometry import rle as rles

        return rles.flatten(list(self.rle), self.size, ids=self.ids, policy=policy)

    def masks(self) -> list[NDArray[np.bool_]]:
        """One boolean mask of the full image a cell."""
        from celltable.geometry import rle as rles

        return [rles.decode(counts, self.size) for counts in self.rle]

    def to_arrow(self, image_id: str) -> pa.Table:
        """The cells as rows of the instances table."""
        return instances_table([(image_id, self)])

    @classmethod
    def from_arrow(cls, table: pa.Table | pa.RecordBatch, size: tuple[int, int]) -> Instances:
        """The cells of one image from rows of the instances table (columns that are all null come back as None)."""
        names = set(table.schema.names)
        boxes = [
            table.column(c).to_numpy(zero_copy_only=False)
            if isinstance(table, pa.RecordBatch)
            else table.column(c).to_numpy()
            for c in ("bbox_x", "bbox_y", "bbox_w", "bbox_h")
        ]
        columns: dict[str, Any] = {}
        for f in fields(cls):
            if f.name in ("size", "bbox", "rle", "area") or f.name not in names:
                continue
            columns[f.name] = _from_array(table.column(f.name), _DEFAULTS.get(f.name))
        area = np.asarray(
            table.column("area").to_pylist() if table.num_rows == 0 else table.column("area").to_numpy(), np.int64
        )
        bbox = (
            np.stack([np.asarray(b, np.int32) for b in boxes], axis=1) if table.num_rows else np.zeros((0, 4), np.int32)
        )
        return cls(size, table.column("rle").to_pylist(), area, bbox, **columns)


def instances_table(images: Sequence[tuple[str, Instances]]) -> pa.Table:
    """Rows of the instances table for some images, in their order, made column by column at once."""
    lengths = [len(cells) for _, cells in images]
    boxes = _joined([np.asarray(cells.bbox, np.int32).reshape(-1, 4) for _, cells in images], (0, 4), np.int32)
    made = {f"bbox_{axis}": np.ascontiguousarray(boxes[:, k]) for k, axis in enumerate("xywh")}
    made["area"] = _joined([np.asarray(cells.area, np.int64) for _, cells in images], (0,), np.int64)
    made["instance_id"] = _joined([cells.ids for _, cells in images], (0,), np.int32)
    arrays = []
    for f in schema.INSTANCES:
        if f.name == "image_id":
            ids = pa.array([image_id for image_id, _ in images], pa.string())
            arrays.append(ids.take(pa.array(np.repeat(np.arange(len(images)), lengths))))
        elif f.name in made:
            arrays.append(pa.array(made[f.name], f.type))
        else:
            arrays.append(_column_array([getattr(cells, f.name) for _, cells in images], f, lengths))
    return pa.Table.from_arrays(arrays, schema=schema.INSTANCES)


def _joined(parts: list[NDArray[Any]], empty: tuple[int, ...], kind: Any) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(empty, kind)


def _column_array(values: list[Any], kind: pa.Field, lengths: list[int]) -> pa.Array:
    """A column over several images, each with one value for all its cells or one value a cell."""
    if all(v is None for v in values):
        return pa.nulls(sum(lengths), kind.type)
    first = values[0]
    if isinstance(first, str | bool) and all(isinstance(v, str | bool) and v == first for v in values):
        return pa.repeat(pa.scalar(first, kind.type), sum(lengths))
    if all(isinstance(v, np.ndarray) and v.dtype == np.float64 for v in values if v is not None):
        return _float_array(values, kind, lengths)
    flat: list[Any] = []
    for value, n in zip(values, lengths, strict=True):
        if value is None or isinstance(value, str | bool):
            flat.extend([value] * n)
            continue
        if len(value) != n:
            raise InputError(f"column {kind.name} has {len(value)} values for {n} instances; expected one each")
        flat.extend(_listed(value) if isinstance(value, np.ndarray) else value)
    return pa.array(flat, kind.type)


def _float_array(values: list[Any], kind: pa.Field, lengths: list[int]) -> pa.Array:
    """A column of floats, or of lists of floats of one length, from arrays in which NaN is null."""
    width = next(v.shape[1:] for v in values if v is not None)
    parts = []
    for value, n in zip(values, lengths, strict=True):
        part = np.full((n, *width), np.nan) if value is None else value
        if part.shape != (n, *width):
            raise InputError(f"column {kind.name} has {part.shape} values for {n} instances; expected {(n, *width)}")
        parts.append(part)
    joined = np.concatenate(parts)
    if not width:
        return pa.array(joined, kind.type, mask=np.isnan(joined))
    absent = np.isnan(joined).any(axis=1)
    ends = np.cumsum([0, *np.where(absent, 0, width[0]).tolist()], dtype=np.int32)
    flat = pa.array(joined[~absent].ravel())
    return pa.ListArray.from_arrays(pa.array(ends), flat, kind.type, mask=pa.array(absent) if absent.any() else None)


def _listed(values: NDArray[Any]) -> list[Any]:
    found: list[Any] = values.tolist()
    if values.dtype.kind != "f":
        return found
    absent = np.isnan(values) if values.ndim == 1 else np.isnan(values).any(axis=1)
    return [None if gone else v for v, gone in zip(found, absent.tolist(), strict=True)] if absent.any() else found


def _from_array(values: pa.Array | pa.ChunkedArray, default: Any) -> Any:
    if values.null_count == len(values) and default is None:
        return None
    if pa.types.is_integer(values.type) and not values.null_count:
        return values.to_numpy()
    found: list[Any] = values.to_pylist()
    if isinstance(default, str | bool) and all(v == default for v in found):
        return default
    return found
