"""The sparse overlap table of two sides of an image: areas, boxes and shared pixels, computed once for every metric."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable._native import geometry as _core
from celltable.errors import MaskError

from ._arrays import label_array

if TYPE_CHECKING:
    from .masks import Masks

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Overlap:
    """Two sides of one image and the pixels they share.

    `gt_ids`, `pred_ids` int64: labels, ascending (positions 0..n-1 for masks). `gt_areas`, `pred_areas` int64
    px². `gt_boxes`, `pred_boxes` int32 (n, 4): x, y, width, height. `gt_index`, `pred_index` int64 (k,): positions of
    each pair that shares pixels, sorted; `intersection` int64 (k,): how many.
    """

    gt_ids: Ints
    gt_areas: Ints
    gt_boxes: NDArray[np.int32]
    pred_ids: Ints
    pred_areas: Ints
    pred_boxes: NDArray[np.int32]
    gt_index: Ints
    pred_index: Ints
    intersection: Ints

    def kept(self, gt: NDArray[np.bool_], pred: NDArray[np.bool_]) -> Self:
        """Keep the cells where the boolean masks are true, and the overlaps of two kept cells."""
        return replace(self, **self.columns_of(gt, pred))

    def columns_of(self, gt: NDArray[np.bool_], pred: NDArray[np.bool_]) -> dict[str, Any]:
        """Return the columns of the cells where the boolean masks are true."""
        pairs = gt[self.gt_index] & pred[self.pred_index]
        return {
            "gt_ids": self.gt_ids[gt],
            "gt_areas": self.gt_areas[gt],
            "gt_boxes": self.gt_boxes[gt],
            "pred_ids": self.pred_ids[pred],
            "pred_areas": self.pred_areas[pred],
            "pred_boxes": self.pred_boxes[pred],
            "gt_index": (np.cumsum(gt) - 1)[self.gt_index[pairs]],
            "pred_index": (np.cumsum(pred) - 1)[self.pred_index[pairs]],
            "intersection": self.intersection[pairs],
        }


def overlap_of_label_maps(gt: ArrayLike, pred: ArrayLike) -> Overlap:
    """Compute the overlap table of two label maps (row, column) of equal size, 0 = background; labels may be sparse.

    >>> table = overlap_of_label_maps(np.array([[1, 1, 0]]), np.array([[0, 9, 9]]))
    >>> table.intersection.tolist(), table.gt_areas.tolist(), table.pred_areas.tolist()
    ([1], [2], [2])
    """
    return overlap_of_strips([(np.asarray(gt), np.asarray(pred))])


def overlap_of_strips(strips: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> Overlap:
    """Like `overlap_of_label_maps`, for maps read in horizontal strips from top to bottom, for example from disk."""
    table = _core.Overlaps()
    row = 0
    for gt, pred in strips:
        if np.shape(gt) != np.shape(pred):
            raise MaskError(f"the ground truth has {_px(gt)} px, the prediction {_px(pred)}; expected one size")
        a, b = _rows(gt), _rows(pred)
        if a.dtype != b.dtype:
            wider = np.promote_types(a.dtype, b.dtype)
            a, b = a.astype(wider, copy=False), b.astype(wider, copy=False)
        table.add(a, b, row)
        row += a.shape[0]
    gt_cells, pred_cells, gt_index, pred_index, pixels = table.finish()
    return Overlap(*gt_cells, *pred_cells, gt_index, pred_index, pixels)


def _rows(labels: ArrayLike) -> NDArray[Any]:
    array, transposed = label_array(labels)
    return np.ascontiguousarray(array.T) if transposed else array


def overlap_of_masks(a: Masks, b: Masks) -> Overlap:
    """Compute the overlap table of the masks of two sides of one image; masks of one side may overlap.

    Raises
    ------
    MaskError
        If they differ in size, or run lengths are not valid.
    """
    a.need_same_size(b)
    areas_a, boxes_a, areas_b, boxes_b, i, j, pixels = _core.overlap_rles(a, b, *a.size)
    return Overlap(np.arange(len(areas_a)), areas_a, boxes_a, np.arange(len(areas_b)), areas_b, boxes_b, i, j, pixels)


def _px(array: ArrayLike) -> str:
    return " × ".join(map(str, np.shape(array)))
