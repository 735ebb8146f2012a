"""The cells of one image: their masks and columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from celltable import schema
from celltable.errors import InputError
from celltable.geometry.masks import Flattened, Masks, RunLengths, from_label_map

from .columns import NAMES, Columns, column_array, joined
from .rows import Rows


class _Column:
    """A column of cells as an attribute: one value for all cells, one value per cell, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, cells: Instances, owner: type | None = None) -> Any:
        return cells.columns.get(self._name)


@final
@dataclass(frozen=True, slots=True, init=False, repr=False, eq=False)
class Instances:
    """The cells of one image.

    Parameters
    ----------
    rle
        The masks of the cells, which also give the image size, areas and boxes.
    **columns
        Any of `COLUMNS`: one value for all cells, or a sequence with one value per cell; in an array of floats, NaN is
        the same as None in a list. `instance_id` defaults to 1..n, `kind` to ``"nucleus"``.

    Raises
    ------
    InputError
        If a column is unknown or does not have one value per cell.

    >>> cells = Instances.from_label_map(np.array([[1, 1, 0, 2]]), score=[0.9, 0.4])
    >>> cells.area.tolist(), cells.column("kind"), cells.take([1]).score
    ([2, 1], ['nucleus', 'nucleus'], [0.4])
    """

    COLUMNS: ClassVar[tuple[str, ...]] = NAMES

    rle: Masks
    columns: Columns

    instance_id = _Column()
    kind = _Column()
    parent = _Column()
    class_name = _Column()
    class_names = _Column()
    class_scores = _Column()
    polygon = _Column()
    published_area = _Column()
    published_bbox = _Column()
    score = _Column()
    ignore = _Column()
    crowd = _Column()
    truncated = _Column()
    annotator = _Column()
    source_id = _Column()

    def __init__(self, rle: Masks, **columns: Any) -> None:
        object.__setattr__(self, "rle", rle)
        object.__setattr__(self, "columns", Columns(len(rle), columns))

    @classmethod
    def _of(cls, rle: Masks, columns: Columns) -> Instances:
        cells = cls.__new__(cls)
        object.__setattr__(cells, "rle", rle)
        object.__setattr__(cells, "columns", columns)
        return cells

    def __len__(self) -> int:
        return self.columns.n

    def __repr__(self) -> str:
        return f"<Instances: {len(self)} cells of {self.size[0]} × {self.size[1]} px, {', '.join(self.columns)}>"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.rle.size

    @property
    def area(self) -> NDArray[np.int64]:
        """Pixels of each mask, int64 (n,), px²."""
        return self.rle.areas

    @property
    def bbox(self) -> NDArray[np.int32]:
        """Tight box of each mask, int32 (n, 4): x, y, width, height; zeros for an empty mask."""
        return self.rle.boxes

    @property
    def ids(self) -> NDArray[np.int32]:
        """instance_id of each cell, int32 (n,)."""
        given = self.columns.get("instance_id")
        if given is None:
            return np.arange(1, len(self) + 1, dtype=np.int32)
        return np.asarray(given, dtype=np.int32)

    @classmethod
    def empty(cls, size: tuple[int, int]) -> Instances:
        """No cells."""
        return cls(Masks.of([], size))

    @classmethod
    def from_rle(cls, rle: Sequence[bytes] | RunLengths, size: tuple[int, int], **columns: Any) -> Instances:
        """Make cells from compressed COCO counts.

        Raises
        ------
        MaskError
            If counts are not valid for the size.
        """
        masks = Masks.of(rle, size)
        masks.check()
        return cls(masks, **columns)

    @classmethod
    def from_label_map(cls, label_map: ArrayLike, **columns: Any) -> Instances:
        """Make cells from a label map (0 = background), in ascending label order; `source_id` defaults to labels."""
        ids, masks = from_label_map(np.asarray(label_map))
        columns.setdefault("source_id", [str(i) for i in ids.tolist()])
        return cls(masks, **columns)

    @classmethod
    def from_masks(cls, masks: Iterable[ArrayLike], size: tuple[int, int], **columns: Any) -> Instances:
        """Make cells from full-size boolean masks, which may overlap."""
        return cls(Masks.from_arrays(masks, size), **columns)

    @classmethod
    def from_arrow(cls, table: pa.Table | pa.RecordBatch, size: tuple[int, int]) -> Instances:
        """Make cells from all rows of an instances table, which must belong to one image; masks are not copied."""
        return cls.of_rows(Rows(table), 0, int(table.num_rows), size)

    @classmethod
    def of_rows(cls, rows: Rows, first: int, stop: int, size: tuple[int, int]) -> Instances:
        """View the rows `first` to ``stop - 1`` of a store, the cells of one image of `size`; nothing is copied."""
        return cls._of(rows.masks(first, stop, size), Columns(stop - first, {}, rows, slice(first, stop)))

    @classmethod
    def concat(cls, parts: Sequence[Instances]) -> Instances:
        """Concatenate one or more groups of cells of the same image and number them from 1."""
        return cls(Masks.concat([part.rle for part in parts]), **joined([part.columns for part in parts]))

    def column(self, name: str) -> list[Any]:
        """Expand a column to one value per cell, with None for missing values."""
        made = {"instance_id": "ids", "area": "area", "bbox": "bbox"}.get(name)
        if name == "rle":
            return list(self.rle)
        return self.columns.listed(name) if made is None else list(getattr(self, made).tolist())

    def take(self, indices: ArrayLike) -> Instances:
        """Select the cells at `indices` (positions, or one boolean per cell), in that order, keeping their ids."""
        picked = np.asarray(indices)
        where = np.flatnonzero(picked) if picked.dtype == bool else picked.astype(np.intp)
        columns = self.columns
        if columns.get("instance_id") is None:
            columns = columns.replaced({"instance_id": self.ids})
        return Instances._of(self.rle.take(where), columns.picked(where))

    def with_columns(self, **columns: Any) -> Instances:
        """Replace some columns of the cells."""
        return Instances._of(self.rle, self.columns.replaced(columns))

    def with_masks(self, rle: Masks) -> Instances:
        """Replace the masks of the cells, one per cell."""
        if len(rle) != len(self):
            raise InputError(f"{len(rle)} masks for {len(self)} instances; expected one per instance")
        return Instances._of(rle, self.columns)

    def label_map(self, policy: str = "last-wins") -> Flattened:
        """Flatten into a label map of instance ids under a named overlap policy; the result says what was lost."""
        return self.rle.flatten(self.ids, policy)

    def masks(self) -> list[NDArray[np.bool_]]:
        """Decode each mask into a full-size boolean array."""
        return [self.rle.decode(k) for k in range(len(self))]

    def to_arrow(self, image_id: str) -> pa.Table:
        """Convert the cells to rows of the instances table."""
        return instances_table([(image_id, self)])


def instances_table(images: Sequence[tuple[str, Instances]]) -> pa.Table:
    """Convert the cells of several images to rows of the instances table, column by column."""
    lengths = [len(cells) for _, cells in images]
    boxes = np.concatenate([np.zeros((0, 4), np.int32), *(cells.bbox for _, cells in images)])
    made = {f"bbox_{side}": np.ascontiguousarray(boxes[:, k]) for k, side in enumerate("xywh")}
    made["area"] = np.concatenate([np.zeros(0, np.int64), *(cells.area for _, cells in images)])
    made["instance_id"] = np.concatenate([np.zeros(0, np.int32), *(cells.ids for _, cells in images)])
    arrays = []
    for f in schema.INSTANCES:
        if f.name == "image_id":
            ids = pa.array([image_id for image_id, _ in images], pa.string())
            arrays.append(ids.take(pa.array(np.repeat(np.arange(len(images)), lengths))))
        elif f.name == "rle":
            arrays.append(RunLengths.joined([cells.rle for _, cells in images]).to_arrow())
        elif f.name in made:
            arrays.append(pa.array(made[f.name], f.type))
        else:
            arrays.append(column_array([cells.columns for _, cells in images], f))
    return pa.Table.from_arrays(arrays, schema=schema.INSTANCES)
