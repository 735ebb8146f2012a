"""The sparse overlap table of two sides of an image: areas, boxes and shared pixels, computed once for every metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable._native import geometry as _core
from celltable.errors import MaskError

from ._arrays import label_array

Ints = NDArray[np.int64]
_Cells = tuple[Ints, Ints, NDArray[np.int32]]  # ids, areas, boxes


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two sides of one image and the pixels they share.

    `gt_ids`, `pred_ids` int64: labels, ascending (positions 0..n-1 for lists of masks). `gt_areas`, `pred_areas` int64
    px². `gt_boxes`, `pred_boxes` int32 (n, 4): x, y, width, height. `gt_index`, `pred_index` int64 (k,): positions of
    each pair that shares pixels, sorted; `pixels` int64 (k,): how many.
    """

    gt_ids: Ints
    gt_areas: Ints
    gt_boxes: NDArray[np.int32]
    pred_ids: Ints
    pred_areas: Ints
    pred_boxes: NDArray[np.int32]
    gt_index: Ints
    pred_index: Ints
    pixels: Ints


def overlap_of_label_maps(gt: ArrayLike, pred: ArrayLike) -> Overlap:
    """The overlap table of two label maps (row, column) of one size, 0 = background; labels may be sparse and large.

    >>> table = overlap_of_label_maps(np.array([[1, 1, 0]]), np.array([[0, 9, 9]]))
    >>> table.pixels.tolist(), table.gt_areas.tolist(), table.pred_areas.tolist()
    ([1], [2], [2])
    """
    return overlap_of_strips([(np.asarray(gt), np.asarray(pred))])


def overlap_of_strips(strips: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> Overlap:
    """As `overlap_of_label_maps`, of maps that come as horizontal strips from top to bottom (from disk, say)."""
    table = _core.Overlaps()
    numbers = _Numbers()
    row = 0
    for gt, pred in strips:
        if np.shape(gt) != np.shape(pred):
            raise MaskError(f"the ground truth has {_px(gt)} px, the prediction {_px(pred)}; expected one size")
        a, b = numbers.narrow(gt, 0), numbers.narrow(pred, 1)
        if a.dtype != b.dtype:
            a, b = a.astype(np.int32, copy=False), b.astype(np.int32, copy=False)
        table.add(a, b, row)
        row += a.shape[0]
    return _table(*table.finish(), numbers)


class _Numbers:
    """Labels as 31-bit numbers; larger ones are numbered anew, and remembered."""

    def __init__(self) -> None:
        self._new: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def narrow(self, labels: ArrayLike, side: int) -> NDArray[Any]:
        array, transposed = label_array(labels)
        array = np.ascontiguousarray(array.T) if transposed else array
        if array.dtype != np.int64:
            return array
        if array.size and int(array.min()) < 0:
            raise MaskError(f"a label map holds the negative label {int(array.min())}; expected 0 and positive labels")
        known = self._new[side]
        if not known and (not array.size or int(array.max()) <= np.iinfo(np.int32).max):
            return array.astype(np.int32)
        values, inverse = np.unique(array, return_inverse=True)
        table = [0 if v == 0 else known.setdefault(v, len(known) + 1) for v in values.tolist()]
        return np.asarray(table, np.int32)[inverse].reshape(array.shape)

    def old(self, numbers: Ints, side: int) -> Ints:
        back = self._new[side]
        if not back:
            return numbers
        table = np.zeros(len(back) + 1, np.int64)
        for label, number in back.items():
            table[number] = label
        return table[numbers]


def _table(gt: _Cells, pred: _Cells, i: Ints, j: Ints, pixels: Ints, numbers: _Numbers) -> Overlap:
    gt_ids, pred_ids = numbers.old(gt[0], 0), numbers.old(pred[0], 1)
    made = Overlap(gt_ids, gt[1], gt[2], pred_ids, pred[1], pred[2], i, j, pixels)
    return made if gt_ids is gt[0] and pred_ids is pred[0] else _sorted(made)


def _sorted(t: Overlap) -> Overlap:
    g, p = np.argsort(t.gt_ids), np.argsort(t.pred_ids)
    new_g, new_p = np.argsort(g), np.argsort(p)
    i, j = new_g[t.gt_index], new_p[t.pred_index]
    order = np.lexsort((j, i))
    return Overlap(
        t.gt_ids[g], t.gt_areas[g], t.gt_boxes[g], t.pred_ids[p], t.pred_areas[p], t.pred_boxes[p], i[order], j[order],
        t.pixels[order],
    )  # fmt: skip


def overlap_of_rles(a: Sequence[bytes], b: Sequence[bytes], size: tuple[int, int]) -> Overlap:
    """The overlap table of two lists of masks of one size; masks of one list may overlap each other."""
    areas_a, boxes_a, areas_b, boxes_b, i, j, pixels = _core.overlap_rles(a, b, int(size[0]), int(size[1]))
    return Overlap(np.arange(len(areas_a)), areas_a, boxes_a, np.arange(len(areas_b)), areas_b, boxes_b, i, j, pixels)


def _px(array: ArrayLike) -> str:
    return " × ".join(map(str, np.shape(array)))
