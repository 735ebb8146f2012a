"""One side of an image, ground truth or predictions, as read by metrics: a view of cells or of a label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.cells import Columns
from celltable.errors import MaskError
from celltable.geometry import label_map as maps
from celltable.geometry import overlap as overlaps
from celltable.geometry.masks import Masks, RunLengths, from_label_map

from .strips import strips_of

if TYPE_CHECKING:
    from celltable.cells import Instances
    from celltable.geometry.overlap import Overlap

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Several = Sequence[Sequence[tuple[str, float]] | None]
_COLUMNS: Final = {
    "scores": "score",
    "crowd": "crowd",
    "ignore": "ignore",
    "published_area": "published_area",
    "published_boxes": "published_bbox",
    "source_ids": "source_id",
}


@dataclass(frozen=True, eq=False)
class Side:
    """The cells of one side (ground truth or predictions) of one image.

    Make one with `from_label_map`, `from_rle`, `from_layers` or `from_instances`. It holds either `map` (a label map,
    0 = background, whose cells cannot overlap) or `given` (masks, which can); the other is made on demand. All columns
    have one entry per cell, in the order of `ids`; missing columns are None.

    Attributes
    ----------
    size
        (height, width).
    columns
        What is known about the cells besides their masks.
    given_ids
        Instance ids, int64 (n,); 1..n, or the labels of `map`, where it is None.
    class_codes, class_names
        Index of each cell's class in `class_names`, int64 (n,), -1 = none.
    painted
        The label map of the `given` masks, if already known.
    subset
        True if `map` contains more cells than `given_ids`.
    """

    size: tuple[int, int]
    map: Any | None = None
    given: Masks | None = None
    columns: Columns | None = None
    given_ids: Ints | None = None
    class_codes: Ints | None = None
    class_names: tuple[str, ...] = ()
    painted: NDArray[Any] | None = None
    subset: bool = False

    @classmethod
    def from_label_map(
        cls,
        label_map: Any,
        *,
        given_ids: Ints | None = None,
        class_codes: Ints | None = None,
        class_names: Sequence[str] = (),
        **columns: Any,
    ) -> Side:
        """View the cells of an integer label map; columns are in ascending order of the labels, or of `given_ids`.

        The map is an array, or anything with a shape whose rows can be sliced and that `numpy.asarray` can convert,
        such as `celltable.imagefile.LabelStrips`, which reads a map on disk a few rows at a time. Columns are `scores`,
        `crowd`, `ignore`, `published_area`, `published_boxes`, `source_ids` and `several`.
        """
        size = int(label_map.shape[0]), int(label_map.shape[1])
        return cls(size, label_map, None, _named(columns), given_ids, class_codes, tuple(class_names))

    @classmethod
    def from_rle(
        cls,
        counts: Sequence[bytes] | RunLengths,
        size: tuple[int, int],
        *,
        given_ids: Ints | None = None,
        class_codes: Ints | None = None,
        class_names: Sequence[str] = (),
        **columns: Any,
    ) -> Side:
        """View cells given as compressed COCO counts, which may overlap; columns as for `from_label_map`."""
        masks = Masks.of(counts, size)
        return cls(masks.size, None, masks, _named(columns), given_ids, class_codes, tuple(class_names))

    @classmethod
    def from_layers(cls, stack: NDArray[Any], class_names: Sequence[str], **columns: Any) -> Side:
        """View the cells of a (row, column, class) stack of label maps, as in PanNuke; further layers are not read.

        Ids are 1, 2, … in the order of class and label; where layers share a pixel, the cells overlap and the later
        class is on top.
        """
        layers = maps.layers(stack, len(class_names))
        if layers.strange[: len(class_names)].any():
            raise MaskError("a class layer holds a value that is not a whole number from 0 to 2147483647")
        codes, names = layers.layer.astype(np.int64), tuple(class_names)
        size = int(stack.shape[0]), int(stack.shape[1])
        if not layers.shared:
            return cls(size, layers.flat, None, _named(columns), None, codes, names)
        masks = Masks.concat([from_label_map(plane).masks for plane in layers.maps])
        return cls(size, None, masks, _named(columns), None, codes, names, layers.flat)

    @classmethod
    def from_instances(cls, cells: Instances, class_names: Sequence[str] = (), *, all_coded: bool = False) -> Side:
        """View the cells of a record or of a store, without decoding their masks.

        Parameters
        ----------
        class_names
            The classes that codes refer to; by default those that occur, sorted.
        all_coded
            Set codes (-1) even if no cell of the image has a class.
        """
        words, codes = tuple(class_names), None
        if cells.class_name is not None and not words:
            words = tuple(sorted({n for n in cells.column("class_name") if n is not None}))
        if cells.class_name is not None or (all_coded and words):
            codes = cells.columns.codes("class_name", words)
        return cls(
            cells.size,
            given=cells.rle,
            columns=cells.columns,
            given_ids=np.asarray(cells.ids, np.int64),
            class_codes=codes,
            class_names=words if codes is not None else (),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def scores(self) -> Floats | None:
        """Confidences of predictions, float64 (n,)."""
        return None if self.columns is None else self.columns.floats("score")

    @cached_property
    def crowd(self) -> Bools | None:
        """Which cells are crowd regions, bool (n,)."""
        return None if self.columns is None else self.columns.flags("crowd")

    @cached_property
    def ignore(self) -> Bools | None:
        """Which cells are never scored, bool (n,)."""
        return None if self.columns is None else self.columns.flags("ignore")

    @cached_property
    def published_area(self) -> Floats | None:
        """Published areas, float64 (n,), px²."""
        return None if self.columns is None else self.columns.floats("published_area")

    @cached_property
    def published_boxes(self) -> Floats | None:
        """Published boxes, float64 (n, 4): x, y, width, height."""
        return None if self.columns is None else self.columns.floats("published_bbox")

    @cached_property
    def source_ids(self) -> Sequence[Any] | None:
        """The release's own ids (COCO annotation ids)."""
        if self.columns is None or self.columns.get("source_id") is None:
            return None
        return self.columns.listed("source_id")

    @cached_property
    def several(self) -> Several | None:
        """All (class name, confidence) of each cell that has more than one class; NaN without a confidence."""
        if self.columns is None or self.columns.get("class_names") is None:
            return None
        names, scores = self.columns.listed("class_names"), self.columns.listed("class_scores")
        return [
            None if not words else list(zip(words, each or [float("nan")] * len(words), strict=True))
            for words, each in zip(names, scores, strict=True)
        ]

    @cached_property
    def ids(self) -> Ints:
        """Instance ids, int64 (n,)."""
        if self.given_ids is not None:
            return self.given_ids
        if self.given is not None:
            return np.arange(1, len(self.given) + 1, dtype=np.int64)
        return self._scanned.gt_ids

    @cached_property
    def areas(self) -> Ints:
        """Mask areas in pixels, int64 (n,)."""
        if self.given is not None:
            return self.given.areas
        return aligned(self.ids, self._scanned.gt_ids, self._scanned.gt_areas)

    @cached_property
    def boxes(self) -> NDArray[np.int32]:
        """Tight boxes x, y, width, height of the masks, int32 (n, 4)."""
        if self.given is not None:
            return self.given.boxes
        return aligned(self.ids, self._scanned.gt_ids, self._scanned.gt_boxes)

    def learn(self, ids: Ints, areas: Ints, boxes: NDArray[np.int32]) -> None:
        """Store what an overlap table has measured, so that the label map is not read again."""
        if self.given_ids is None:
            for name, value in (("ids", ids), ("areas", areas), ("boxes", boxes)):
                self.__dict__.setdefault(name, value)

    @cached_property
    def _scanned(self) -> Overlap:
        rows = (rows for _, rows in strips_of(self.label_map))
        return overlaps.overlap_of_strips((part, np.zeros(part.shape, np.uint8)) for part in rows)

    @property
    def measured(self) -> bool:
        """Whether areas are known without reading masks or the label map."""
        return self.given.measured if self.given is not None else "ids" in self.__dict__

    @cached_property
    def masks(self) -> Masks:
        """The cells' masks."""
        if self.given is not None:
            return self.given
        ids, masks = from_label_map(np.asarray(self.map))
        if np.array_equal(ids, self.ids):
            return masks
        position = np.searchsorted(ids, self.ids)
        there = position < len(ids)
        there[there] = ids[position[there]] == self.ids[there]
        none = Masks.of([masks[:0].union()], masks.size)  # for an id without pixels
        return Masks.concat([masks, none]).take(np.where(there, position, len(ids)))

    @cached_property
    def overlapping(self) -> bool:
        """Whether any two masks of this side share pixels."""
        if self.map is not None or not len(self):
            return False
        return self.painted is not None or not self.masks.disjoint

    @cached_property
    def label_map(self) -> NDArray[Any]:
        """The side as a label map of `ids`; where masks overlap, higher ids are on top."""
        if self.map is not None:
            return np.where(np.isin(self.map, self.ids), self.map, 0) if self.subset else self.map
        if self.painted is not None:
            return self.painted
        order = np.argsort(self.ids, kind="stable")
        ordered = self.masks if (order[1:] > order[:-1]).all() else self.masks.take(order)
        return ordered.flatten(self.ids[order]).label_map

    @property
    def flags(self) -> Bools:
        """Cells that are crowd or ignore regions, bool (n,)."""
        flags = np.zeros(len(self), bool)
        for column in (self.crowd, self.ignore):
            if column is not None:
                flags |= column
        return flags

    def with_columns(self, **columns: Any) -> Side:
        """Return the same cells with some columns replaced; names are those of `from_label_map`."""
        given = _named(columns)
        if given is None or self.columns is None:
            return replace(self, columns=given or self.columns)
        return replace(self, columns=self.columns.replaced({name: given.raw(name) for name in given}))

    def take(self, keep: ArrayLike) -> Side:
        """Return the cells where the boolean mask `keep` is true, with their ids and columns."""
        mask = np.asarray(keep, bool)
        where = np.flatnonzero(mask)
        taken = replace(
            self,
            given=None if self.given is None else self.given.take(where),
            columns=None if self.columns is None else self.columns.picked(where),
            given_ids=self.ids[mask],
            class_codes=None if self.class_codes is None else self.class_codes[mask],
            painted=None,
            subset=self.map is not None and (self.subset or not mask.all()),
        )
        if self.map is not None:
            taken.__dict__.update(areas=self.areas[mask], boxes=self.boxes[mask])
        return taken


def _named(columns: dict[str, Any]) -> Columns | None:
    """Make the columns of cells from the names that metrics use for them; None if none is given."""
    strange = sorted(set(columns) - {*_COLUMNS, "several"})
    if strange:
        raise TypeError(f"a side has no column '{strange[0]}'; expected {', '.join(_COLUMNS)} or several")
    several: Several | None = columns.pop("several", None)
    given = {_COLUMNS[name]: value for name, value in columns.items() if value is not None}
    if several is not None:
        given["class_names"] = [None if each is None else [name for name, _ in each] for each in several]
        given["class_scores"] = [None if each is None else [score for _, score in each] for each in several]
    return Columns(len(next(iter(given.values()))), given) if given else None


def aligned(ids: Ints, present: Ints, values: NDArray[Any]) -> NDArray[Any]:
    """Put rows of `values`, one per id of `present` (ascending), in the order of `ids`; zeros for missing ids."""
    if len(ids) == len(present) and np.array_equal(ids, present):
        return values
    out = np.zeros((len(ids), *values.shape[1:]), values.dtype)
    position = np.searchsorted(present, ids)
    there = position < len(present)
    there[there] = present[position[there]] == ids[there]
    out[there] = values[position[there]]
    return out
