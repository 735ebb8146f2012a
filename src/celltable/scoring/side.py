"""One side of an image, ground truth or prediction: its cells, whatever they come as, with their columns and ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.errors import MaskError
from celltable.geometry import label_map as maps
from celltable.geometry import overlap as overlaps
from celltable.geometry import rle as rles

from .strips import strips_of

if TYPE_CHECKING:
    from celltable.cells import Instances
    from celltable.geometry.overlap import Overlap

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Side:
    """The cells of one side (ground truth or prediction) of one image.

    Make one with `from_label_map`, `from_rle` or `from_instances`. Either `map` (a label map, 0 = background, which
    cannot overlap) or `counts` (compressed COCO run lengths, one a cell, which can) is given; the other is made when
    asked for. All columns have one entry a cell, in the order of `ids`; None where there is no such column.

    Attributes
    ----------
    size
        (height, width).
    columns of cells
        `given_ids` int64; `class_codes` int64 index into `class_names`, -1 = none; `scores` float64; `crowd`, `ignore`
        bool; `published_area` float64; `published_boxes` float64 (n, 4) x, y, width, height; `source_ids` the release's
        own ids (COCO annotation ids); `several`, for cells of more than one class, all (class name, confidence).
    painted
        The label map of cells given as `counts`, where it is known already.
    subset
        True where `map` holds more cells than `given_ids`.
    """

    size: tuple[int, int]
    map: NDArray[Any] | None = None
    counts: Sequence[bytes] | None = None
    given_ids: Ints | None = None
    given_areas: Ints | None = None
    given_boxes: NDArray[np.int32] | None = None
    class_codes: Ints | None = None
    class_names: tuple[str, ...] = ()
    scores: Floats | None = None
    crowd: Bools | None = None
    ignore: Bools | None = None
    published_area: Floats | None = None
    published_boxes: Floats | None = None
    source_ids: Sequence[Any] | None = None
    painted: NDArray[Any] | None = None
    subset: bool = False
    several: Sequence[Sequence[tuple[str, float]] | None] | None = None

    @classmethod
    def from_label_map(cls, label_map: Any, **columns: Any) -> Side:
        """Cells of an integer label map; columns are in ascending order of the labels (or of `given_ids`).

        The map is an array, or anything with a shape that gives its rows by slices and all of them to `numpy.asarray`,
        such as `celltable.imagefile.LabelStrips`, which reads a map on disk a few rows at a time.
        """
        return cls((int(label_map.shape[0]), int(label_map.shape[1])), map=label_map, **columns)

    @classmethod
    def from_rle(cls, counts: Sequence[bytes], size: tuple[int, int], **columns: Any) -> Side:
        """Cells as compressed COCO counts; they may overlap."""
        return cls(size, counts=list(counts), **columns)

    @classmethod
    def from_layers(cls, stack: NDArray[Any], class_names: Sequence[str], **columns: Any) -> Side:
        """Cells of a (row, column, class) stack of label maps, as PanNuke has them; further channels are not read.

        Ids are 1, 2, … in the order of class and label; where layers share a pixel the cells overlap, and the later
        class lies on top.
        """
        found = maps.layers(stack, len(class_names))
        if found.strange[: len(class_names)].any():
            raise MaskError("a class layer holds a value that is not a whole number from 0 to 2147483647")
        codes, names, size = (
            found.layer.astype(np.int64),
            tuple(class_names),
            (int(stack.shape[0]), int(stack.shape[1])),
        )
        if not found.shared:
            return cls(size, map=found.flat, class_codes=codes, class_names=names, **columns)
        counts = [c for plane in found.maps for c in rles.from_label_map(plane).counts]
        return cls(size, counts=counts, class_codes=codes, class_names=names, painted=found.flat, **columns)

    @classmethod
    def from_instances(cls, cells: Instances, class_names: Sequence[str] = ()) -> Side:
        """Cells of a record or of a store, without decoding their masks; class names become codes of `class_names`."""
        columns: dict[str, Any] = {}
        if cells.class_name is not None:
            columns["class_codes"], columns["class_names"] = _codes(cells.column("class_name"), class_names)
        for name, column in (("scores", cells.score), ("published_area", cells.published_area)):
            if column is not None:
                values = [np.nan if v is None else float(v) for v in column]
                columns[name] = np.asarray(values, np.float64)
        if columns.get("published_area") is not None and np.isnan(columns["published_area"]).all():
            del columns["published_area"]
        for name in ("crowd", "ignore"):
            flags = np.asarray(cells.column(name), bool)
            if flags.any():
                columns[name] = flags
        if cells.published_bbox is not None:
            boxes = [[np.nan] * 4 if b is None else b for b in cells.published_bbox]
            columns["published_boxes"] = np.asarray(boxes, np.float64).reshape(len(cells), 4)
        if cells.source_id is not None:
            columns["source_ids"] = list(cells.source_id)
        if cells.class_names is not None:
            columns["several"] = _several(cells.column("class_names"), cells.column("class_scores"))
        return cls(
            cells.size,
            counts=list(cells.rle),
            given_ids=np.asarray(cells.ids, np.int64),
            given_areas=np.asarray(cells.area, np.int64),
            given_boxes=np.asarray(cells.bbox, np.int32).reshape(len(cells), 4),
            **columns,
        )

    @classmethod
    def from_rows(cls, rows: Any, size: tuple[int, int], class_names: Sequence[str] = ()) -> Side:
        """Cells of one image from rows of a store's instances table (an Arrow table), column by column."""
        return StoredCells(rows, class_names).side(0, int(rows.num_rows), size)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def ids(self) -> Ints:
        """Instance ids, int64 (n,)."""
        if self.given_ids is not None:
            return self.given_ids
        if self.counts is not None:
            return np.arange(1, len(self.counts) + 1, dtype=np.int64)
        return self._found.gt_ids

    @cached_property
    def areas(self) -> Ints:
        """Mask areas in pixels, int64 (n,)."""
        if self.given_areas is not None:
            return self.given_areas
        if self.counts is not None:
            return np.asarray(rles.areas(self.counts, self.size), np.int64)
        return aligned(self.ids, self._found.gt_ids, self._found.gt_areas)

    @cached_property
    def boxes(self) -> NDArray[np.int32]:
        """Tight boxes x, y, width, height of the masks, int32 (n, 4)."""
        if self.given_boxes is not None:
            return self.given_boxes
        if self.counts is not None:
            return np.asarray(rles.boxes(self.counts, self.size), np.int32).reshape(-1, 4)
        return aligned(self.ids, self._found.gt_ids, self._found.gt_boxes)

    def learn(self, ids: Ints, areas: Ints, boxes: NDArray[np.int32]) -> None:
        """Take over what an overlap table has found in the label map, so that it is not read again."""
        if self.given_ids is None:
            for name, value in (("ids", ids), ("areas", areas), ("boxes", boxes)):
                self.__dict__.setdefault(name, value)

    @cached_property
    def _found(self) -> Overlap:
        rows = (rows for _, rows in strips_of(self.label_map))
        return overlaps.overlap_of_strips((part, np.zeros(part.shape, np.uint8)) for part in rows)

    @cached_property
    def rle(self) -> Sequence[bytes]:
        """Compressed COCO counts, one a cell."""
        if self.counts is not None:
            return self.counts
        found = rles.from_label_map(np.asarray(self.map))
        by_id = dict(zip(found.ids.tolist(), found.counts, strict=True))
        empty = rles.encode(np.zeros(self.size, bool))
        return [by_id.get(i, empty) for i in self.ids.tolist()]

    @cached_property
    def overlapping(self) -> bool:
        """Whether two masks of this side share a pixel."""
        if self.map is not None or not len(self):
            return False
        if self.painted is not None:
            return True
        return not overlaps.disjoint(self.rle, self.size)

    @cached_property
    def label_map(self) -> NDArray[Any]:
        """The side as one label map of `ids`; where masks overlap, later ids (in ascending order) lie on top."""
        if self.map is not None:
            return np.where(np.isin(self.map, self.ids), self.map, 0) if self.subset else self.map
        if self.painted is not None:
            return self.painted
        order = np.argsort(self.ids, kind="stable")
        counts = [self.rle[i] for i in order.tolist()]
        return np.asarray(rles.flatten(counts, self.size, ids=self.ids[order], policy="last-wins").label_map)

    @property
    def flags(self) -> Bools:
        """Cells that are crowd or ignore regions, bool (n,)."""
        found = np.zeros(len(self), bool)
        for column in (self.crowd, self.ignore):
            if column is not None:
                found |= column
        return found

    def take(self, keep: ArrayLike) -> Side:
        """The cells where the boolean mask `keep` is true; ids and columns are kept."""
        mask = np.asarray(keep, bool)
        where = np.flatnonzero(mask)
        columns: dict[str, Any] = {
            "given_ids": self.ids[mask],
            "given_areas": self.areas[mask],
            "given_boxes": self.boxes[mask],
        }
        for name in ("class_codes", "scores", "crowd", "ignore", "published_area", "published_boxes"):
            column = getattr(self, name)
            columns[name] = None if column is None else column[mask]
        if self.source_ids is not None:
            columns["source_ids"] = [self.source_ids[i] for i in where.tolist()]
        if self.several is not None:
            columns["several"] = [self.several[i] for i in where.tolist()]
        if self.counts is not None:
            return replace(self, counts=[self.counts[i] for i in where.tolist()], painted=None, **columns)
        return replace(self, subset=self.subset or not mask.all(), **columns)


def _several(names: Sequence[Any], scores: Sequence[Any]) -> list[list[tuple[str, float]] | None]:
    """Names and confidences of the classes of each cell that has more than one; NaN where a class has no confidence."""
    found: list[list[tuple[str, float]] | None] = []
    for words, each in zip(names, scores, strict=True):
        found.append(None if not words else list(zip(words, each or [float("nan")] * len(words), strict=True)))
    return found


class StoredCells:
    """Rows of a store's instances table as columns: made once for many images, which are stretches of them.

    `class_names` gives the codes of classes; without one each image has its own. A column that has nothing in an image
    is None there.
    """

    def __init__(self, rows: Any, class_names: Sequence[str] = ()) -> None:
        self.class_names = tuple(class_names)
        n = int(rows.num_rows)

        def there(name: str) -> bool:
            return name in rows.column_names and rows.column(name).null_count < n

        def listed(name: str) -> list[Any]:
            found: list[Any] = rows.column(name).to_pylist()
            return found

        self.counts: list[bytes] = listed("rle")
        self.ids = np.asarray(rows.column("instance_id").to_numpy(), np.int64)
        self.areas = np.asarray(rows.column("area").to_numpy(), np.int64)
        boxes = [np.asarray(rows.column(f"bbox_{k}").to_numpy(), np.int32) for k in "xywh"]
        self.boxes = np.stack(boxes, axis=1) if n else np.zeros((0, 4), np.int32)
        self.names = listed("class_name") if there("class_name") else None
        self.codes = _codes(self.names or [None] * n, class_names)[0] if class_names else None
        self.floats = {
            name: np.asarray(rows.column(column).to_numpy(), np.float64)
            for name, column in (("scores", "score"), ("published_area", "published_area"))
            if there(column)
        }
        if there("published_bbox"):
            stated = [[np.nan] * 4 if b is None else b for b in listed("published_bbox")]
            self.floats["published_boxes"] = np.asarray(stated, np.float64).reshape(n, 4)
        flags = {name: np.asarray(listed(name), bool) for name in ("crowd", "ignore")}
        self.flags = {name: values for name, values in flags.items() if values.any()}
        self.sources = listed("source_id") if there("source_id") else None
        self.several = _several(listed("class_names"), listed("class_scores")) if there("class_names") else None

    def side(self, first: int, stop: int, size: tuple[int, int]) -> Side:
        """The cells `first` to `stop - 1`, of an image of `size` (height, width)."""
        columns: dict[str, Any] = {}
        if self.codes is not None:
            columns["class_codes"], columns["class_names"] = self.codes[first:stop], self.class_names
        elif self.names is not None and any(name is not None for name in self.names[first:stop]):
            columns["class_codes"], columns["class_names"] = _codes(self.names[first:stop], ())
        for name, numbers in self.floats.items():
            if not np.isnan(numbers[first:stop]).all():
                columns[name] = numbers[first:stop]
        for name, flags in self.flags.items():
            if flags[first:stop].any():
                columns[name] = flags[first:stop]
        if self.sources is not None and any(s is not None for s in self.sources[first:stop]):
            columns["source_ids"] = self.sources[first:stop]
        if self.several is not None and any(s is not None for s in self.several[first:stop]):
            columns["several"] = self.several[first:stop]
        return Side(
            size,
            counts=self.counts[first:stop],
            given_ids=self.ids[first:stop],
            given_areas=self.areas[first:stop],
            given_boxes=self.boxes[first:stop],
            **columns,
        )


def _codes(names: Sequence[str | None], class_names: Sequence[str]) -> tuple[Ints, tuple[str, ...]]:
    words = tuple(class_names) or tuple(sorted({n for n in names if n is not None}))
    index = {word: i for i, word in enumerate(words)}
    return np.asarray([index.get(n, -1) if n is not None else -1 for n in names], np.int64), words


def aligned(ids: Ints, found: Ints, values: NDArray[Any]) -> NDArray[Any]:
    """Rows of `values` (one a found id, ascending) for `ids`; zeros for an id that has no pixel."""
    if len(ids) == len(found) and np.array_equal(ids, found):
        return values
    out = np.zeros((len(ids), *values.shape[1:]), values.dtype)
    position = np.searchsorted(found, ids)
    there = position < len(found)
    there[there] = found[position[there]] == ids[there]
    out[there] = values[position[there]]
    return out
