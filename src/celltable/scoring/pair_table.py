"""The overlap table of one image for metrics of label maps: sorted, with matches and classes, each computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from celltable._native import pairing
from celltable.errors import MetricError
from celltable.geometry.overlap import Overlap

if TYPE_CHECKING:
    from .side import Side

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PairTable(Overlap):
    """The cells of both sides of an image in ascending order of their ids, and their overlaps.

    The overlapping pairs are sorted by ground truth, then by prediction. Cells without pixels are left out.

    Attributes
    ----------
    image_id, n_pixels
        The image and its number of pixels.
    gt_class, pred_class
        int64 class code of each cell (-1: no class), or None.
    """

    image_id: str
    n_pixels: int
    gt_class: Ints | None = None
    pred_class: Ints | None = None

    @classmethod
    def of(cls, overlap: Overlap, gt: Side, pred: Side, image_id: str) -> PairTable:
        """Sort an overlap of the two sides and add their classes."""
        gt_order, gt_rank = _by_id(overlap.gt_ids, overlap.gt_areas)
        pred_order, pred_rank = _by_id(overlap.pred_ids, overlap.pred_areas)
        gt_index, pred_index, intersection = overlap.gt_index, overlap.pred_index, overlap.intersection
        gt_index = gt_index if gt_rank is None else gt_rank[gt_index]
        pred_index = pred_index if pred_rank is None else pred_rank[pred_index]
        key = gt_index * max(len(overlap.pred_ids), 1) + pred_index
        if len(key) > 1 and not (key[1:] > key[:-1]).all():
            order = np.argsort(key, kind="stable")
            gt_index, pred_index, intersection = gt_index[order], pred_index[order], intersection[order]
        gt_class, pred_class = _classes(gt, overlap.gt_ids), _classes(pred, overlap.pred_ids)
        return cls(
            gt_ids=overlap.gt_ids[gt_order],
            gt_areas=overlap.gt_areas[gt_order],
            gt_boxes=overlap.gt_boxes[gt_order],
            pred_ids=overlap.pred_ids[pred_order],
            pred_areas=overlap.pred_areas[pred_order],
            pred_boxes=overlap.pred_boxes[pred_order],
            gt_index=gt_index,
            pred_index=pred_index,
            intersection=intersection,
            image_id=image_id,
            n_pixels=gt.size[0] * gt.size[1],
            gt_class=None if gt_class is None else gt_class[gt_order],
            pred_class=None if pred_class is None else pred_class[pred_order],
        )

    def kept(self, gt: Bools, pred: Bools) -> Self:
        """Keep the cells where the boolean masks are true, and the overlaps of two kept cells."""
        gt_class = None if self.gt_class is None else self.gt_class[gt]
        pred_class = None if self.pred_class is None else self.pred_class[pred]
        return replace(self, **self.columns_of(gt, pred), gt_class=gt_class, pred_class=pred_class)

    @property
    def n_gt(self) -> int:
        """Number of ground-truth cells."""
        return len(self.gt_areas)

    @property
    def n_pred(self) -> int:
        """Number of predicted cells."""
        return len(self.pred_areas)

    @cached_property
    def union(self) -> Ints:
        """Size of the union of each overlapping pair, in pixels."""
        return self.gt_areas[self.gt_index] + self.pred_areas[self.pred_index] - self.intersection

    @cached_property
    def iou(self) -> Floats:
        """Intersection over union of each overlapping pair, the float64 quotient of the two counts."""
        return self.intersection / self.union

    @cached_property
    def foreground(self) -> tuple[int, int, int]:
        """Numbers of foreground pixels of the ground truth, of the prediction, and shared by both."""
        return int(self.gt_areas.sum()), int(self.pred_areas.sum()), int(self.intersection.sum())

    @cached_property
    def unique(self) -> NDArray[np.intp]:
        """One-to-one pairs with an IoU of at least 1/2; if a cell ties with two others, only one pair counts."""
        pairs = np.flatnonzero(self.iou >= 0.5)
        if one_to_one(self.gt_index[pairs], self.pred_index[pairs]):
            return pairs
        return pairs[self.assignment(self.iou[pairs], pairs)]

    @cached_property
    def best(self) -> NDArray[np.intp]:
        """Pairs of the one-to-one assignment with the largest sum of IoUs."""
        return np.flatnonzero(self.assignment(self.iou))

    def over(self, threshold: float) -> NDArray[np.intp]:
        """Return the one-to-one pairs with an IoU strictly above the threshold.

        From a threshold of 1/2 such pairs are unique; below, they are those of the assignment `best`.
        """
        if threshold >= 0.5:
            return np.flatnonzero(self.iou > threshold)
        return self.best[self.iou[self.best] > threshold]

    def assignment(self, weights: Floats, pairs: NDArray[np.intp] | None = None) -> Bools:
        """Flag the pairs of the one-to-one assignment with the largest sum of weights."""
        gt_index, pred_index = self.gt_index, self.pred_index
        if pairs is not None:
            gt_index, pred_index = gt_index[pairs], pred_index[pairs]
        if one_to_one(gt_index, pred_index):
            return np.asarray(weights > 0)
        values = np.ascontiguousarray(weights, np.float64)
        return pairing.assign(gt_index, pred_index, values, self.n_gt, self.n_pred).astype(bool)

    def by_class(self, count: int) -> list[PairTable]:
        """Make a separate table for each class 0..count-1; both sides must have classes."""
        assert self.gt_class is not None
        assert self.pred_class is not None
        return [self.kept(self.gt_class == code, self.pred_class == code) for code in range(count)]

    def need_background(self, code: str, *, gt: bool = True, pred: bool = True) -> None:
        """Strict mode: raise if a map has no background, because the official code then drops a cell.

        Raises
        ------
        MetricError
            If a map that must have background has none.
        """
        for name, area, wanted in (("ground truth", self.gt_areas, gt), ("prediction", self.pred_areas, pred)):
            if wanted and len(area) and int(area.sum()) == self.n_pixels:
                raise MetricError(
                    f"image {self.image_id}: the {name} has no background pixel, and {code} then takes its first cell "
                    "for the background; use corrected mode"
                )


def one_to_one(gt_index: Ints, pred_index: Ints) -> bool:
    """Return whether no cell of either side occurs in two pairs (`gt_index` is sorted)."""
    if len(gt_index) < 2:
        return True
    return bool((gt_index[1:] != gt_index[:-1]).all()) and int(np.bincount(pred_index, minlength=1).max()) < 2


def _classes(side: Side, ids: Ints) -> Ints | None:
    """Return the class codes of the cells `ids` of a side; a side without cells needs none."""
    codes, own = side.class_codes, side.ids
    if codes is None:
        return None if len(own) else np.zeros(0, np.int64)
    if ids is own or (len(ids) == len(own) and np.array_equal(ids, own)):
        return codes
    order = np.argsort(own, kind="stable")
    return codes[order[np.searchsorted(own[order], ids)]]


def _by_id(ids: Ints, areas: Ints) -> tuple[NDArray[np.intp] | slice, Ints | None]:
    """Order cells by id, dropping empty ones; return the order, and each new position (None: unchanged)."""
    if (len(ids) < 2 or bool((ids[1:] > ids[:-1]).all())) and (not len(areas) or int(areas.min()) > 0):
        return slice(None), None
    order = np.argsort(ids, kind="stable")
    order = order[areas[order] > 0]
    rank = np.full(len(ids), -1, np.int64)
    rank[order] = np.arange(len(order))
    return order, rank
