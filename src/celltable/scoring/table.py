"""The sparse overlap table of one image, sorted, with the quantities that label-map protocols share, each made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from celltable._native import pairing
from celltable.errors import MetricError

if TYPE_CHECKING:
    from celltable.geometry.overlap import Overlap

    from .pair import Pair

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Table:
    """Cells of both sides in ascending id order and their overlaps, sorted by ground truth, then by prediction.

    Attributes
    ----------
    image_id, n_pixels
        The image and its number of pixels.
    a, b
        Areas of the ground truth and of the predictions, int64.
    g, p, c
        Row of the ground truth, row of the prediction and shared pixels of each overlapping pair, int64.
    gt_class, pred_class
        Class code of each cell (-1 = none), or None.
    """

    image_id: str
    n_pixels: int
    gt_ids: Ints
    pred_ids: Ints
    a: Ints
    b: Ints
    g: Ints
    p: Ints
    c: Ints
    gt_class: Ints | None = None
    pred_class: Ints | None = None

    @classmethod
    def of(cls, pair: Pair, overlap: Overlap) -> Table:
        """The table of an overlap of the pair; cells without a pixel are left out."""
        gt_ids, a, gt_class, gt_rank = _side(overlap.gt_ids, overlap.gt_areas, pair.gt.ids, pair.gt.class_codes)
        pred_ids, b, pred_class, pred_rank = _side(
            overlap.pred_ids, overlap.pred_areas, pair.pred.ids, pair.pred.class_codes
        )
        g = overlap.gt_index if gt_rank is None else gt_rank[overlap.gt_index]
        p = overlap.pred_index if pred_rank is None else pred_rank[overlap.pred_index]
        c = overlap.pixels
        key = g * max(len(b), 1) + p
        if len(key) > 1 and not (key[1:] > key[:-1]).all():
            order = np.argsort(key, kind="stable")
            g, p, c = g[order], p[order], c[order]
        n_pixels = pair.size[0] * pair.size[1]
        return cls(pair.image_id, n_pixels, gt_ids, pred_ids, a, b, g, p, c, gt_class, pred_class)

    @property
    def n_gt(self) -> int:
        """Number of ground-truth cells."""
        return len(self.a)

    @property
    def n_pred(self) -> int:
        """Number of predicted cells."""
        return len(self.b)

    @cached_property
    def union(self) -> Ints:
        """Pixels of either cell, for each overlapping pair."""
        return self.a[self.g] + self.b[self.p] - self.c

    @cached_property
    def iou(self) -> Floats:
        """Intersection over union of each overlapping pair, the float64 quotient of the two counts."""
        return self.c / self.union

    @cached_property
    def foreground(self) -> tuple[int, int, int]:
        """Pixels of ground truth, of prediction, and of both."""
        return int(self.a.sum()), int(self.b.sum()), int(self.c.sum())

    @cached_property
    def unique(self) -> NDArray[np.intp]:
        """Pairs of IoU of 1/2 or more, one to one: where one cell ties with two others, one of them counts."""
        found = np.flatnonzero(self.iou >= 0.5)
        if one_to_one(self.g[found], self.p[found], self.n_gt, self.n_pred):
            return found
        return found[self.assignment(self.iou[found], found)]

    @cached_property
    def best(self) -> NDArray[np.intp]:
        """Pairs of the one-to-one assignment with the largest sum of IoU."""
        return np.flatnonzero(self.assignment(self.iou))

    def over(self, threshold: float) -> NDArray[np.intp]:
        """One-to-one pairs of IoU strictly over the threshold: unique from 1/2 on, else of the best assignment."""
        if threshold >= 0.5:
            return np.flatnonzero(self.iou > threshold)
        return self.best[self.iou[self.best] > threshold]

    def assignment(self, weights: Floats, pairs: NDArray[np.intp] | None = None) -> Bools:
        """Which of the pairs make the one-to-one assignment with the largest sum of weights."""
        g, p = (self.g, self.p) if pairs is None else (self.g[pairs], self.p[pairs])
        if one_to_one(g, p, self.n_gt, self.n_pred):
            return np.asarray(weights > 0)
        values = np.ascontiguousarray(weights, np.float64)
        return pairing.assign(g, p, values, self.n_gt, self.n_pred).astype(bool)

    def of_class(self, code: int, count: int) -> Table:
        """The table of the cells of one class alone; needs the classes of both sides."""
        return self.by_class(count)[code]

    def by_class(self, count: int) -> list[Table]:
        """One table a class code 0..count-1."""
        assert self.gt_class is not None
        assert self.pred_class is not None
        same = self.gt_class[self.g] == self.pred_class[self.p]
        out = []
        for code in range(count):
            gt, pred = self.gt_class == code, self.pred_class == code
            out.append(self._kept(gt, pred, same & gt[self.g]))
        return out

    def _kept(self, gt: Bools, pred: Bools, pairs: Bools) -> Table:
        g = (np.cumsum(gt) - 1)[self.g[pairs]]
        p = (np.cumsum(pred) - 1)[self.p[pairs]]
        gt_ids, pred_ids, a, b = self.gt_ids[gt], self.pred_ids[pred], self.a[gt], self.b[pred]
        return Table(self.image_id, self.n_pixels, gt_ids, pred_ids, a, b, g, p, self.c[pairs])

    def need_background(self, code: str, *, gt: bool = True, pred: bool = True) -> None:
        """Strict mode: raise where the official code drops a cell because a map has no background pixel.

        Raises
        ------
        MetricError
            If a map that must have background has none.
        """
        for name, area, wanted in (("ground truth", self.a, gt), ("prediction", self.b, pred)):
            if wanted and len(area) and int(area.sum()) == self.n_pixels:
                raise MetricError(
                    f"image {self.image_id}: the {name} has no background pixel, and {code} then takes its first cell "
                    "for background; use corrected mode"
                )


def one_to_one(g: Ints, p: Ints, n_gt: int, n_pred: int) -> bool:
    """Whether no row and no column occurs twice (g is sorted)."""
    if len(g) < 2:
        return True
    return bool((g[1:] != g[:-1]).all()) and int(np.bincount(p, minlength=1).max()) < 2


def _side(ids: Ints, areas: Ints, rows: Ints, classes: Ints | None) -> tuple[Ints, Ints, Ints | None, Ints | None]:
    """Ids ascending without empty cells, their areas and classes, and the rank of each old row (None: unchanged)."""
    if classes is None and not len(rows):
        classes = np.zeros(0, np.int64)
    if classes is not None and ids is not rows and not (len(ids) == len(rows) and np.array_equal(ids, rows)):
        order = np.argsort(rows, kind="stable")
        classes = classes[order[np.searchsorted(rows[order], ids)]]
    if (len(ids) < 2 or bool((ids[1:] > ids[:-1]).all())) and (not len(areas) or int(areas.min()) > 0):
        return ids, areas, classes, None
    order = np.argsort(ids, kind="stable")
    order = order[areas[order] > 0]
    rank = np.full(len(ids), -1, np.int64)
    rank[order] = np.arange(len(order))
    return ids[order], areas[order], None if classes is None else classes[order], rank
