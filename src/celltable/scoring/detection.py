"""Detection and type scores of cells paired by their centres, as HoVer-Net and CellViT count them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins.metric import Mode

from .centroids import pair_points, refuse_many
from .means import divided, ratio
from .pair import Pair

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairing:
    """Numbers of pairs by true and predicted type, and of unpaired cells by type.

    Type 0 means a cell without a type (and the phantom cell of an empty image in strict mode); class code k is type
    k + 1.

    Attributes
    ----------
    paired
        int64 (types, types): rows true, columns predicted.
    unpaired_gt, unpaired_pred
        int64 (types,).
    names
        Class names of types 1, 2, …; empty without types.
    """

    paired: Ints
    unpaired_gt: Ints
    unpaired_pred: Ints
    names: tuple[str, ...]

    def __add__(self, other: Pairing) -> Pairing:
        size = max(len(self.unpaired_gt), len(other.unpaired_gt))
        names = self.names or other.names
        parts = [_grown(x, size) + _grown(y, size) for x, y in zip(self._parts(), other._parts(), strict=True)]
        return Pairing(parts[0], parts[1], parts[2], names)

    def _parts(self) -> tuple[Ints, Ints, Ints]:
        return self.paired, self.unpaired_gt, self.unpaired_pred


def _grown(array: Ints, size: int) -> Ints:
    return np.pad(array, [(0, size - n) for n in array.shape])


def count(pair: Pair, mode: Mode, radius: float) -> Pairing:
    """Pair the cells of one image by their centres."""
    seen = pair.seen(mode)
    refuse_many(len(seen.gt), len(seen.pred))  # before the centres are computed
    names = seen.class_names if seen.has_classes else ()
    gt_xy, gt_type = seen.gt_centroids, _types(seen.gt.class_codes, len(seen.gt), bool(names))
    pred_xy, pred_type = seen.pred_centroids, _types(seen.pred.class_codes, len(seen.pred), bool(names))
    if mode == "strict":
        gt_xy, gt_type = phantom(gt_xy, gt_type)
        pred_xy, pred_type = phantom(pred_xy, pred_type)
    if len(seen.gt) and len(seen.pred):
        gt, pred, distance = seen.nearest_centres
        rows = gt[distance <= radius], pred[distance <= radius]
    else:
        rows = pair_points(gt_xy, pred_xy, radius)
    return pair_types(rows, gt_type, pred_type, names)


def pair_types(rows: tuple[Ints, Ints], gt_type: Ints, pred_type: Ints, names: tuple[str, ...]) -> Pairing:
    """Count pairs and unpaired cells by type, from paired rows and types (0: no type, k: names[k - 1])."""
    gt, pred = rows
    size = len(names) + 1
    paired = np.bincount(gt_type[gt] * size + pred_type[pred], minlength=size * size).reshape(size, size)
    gt_alone, pred_alone = np.ones(len(gt_type), bool), np.ones(len(pred_type), bool)
    gt_alone[gt] = False
    pred_alone[pred] = False
    return Pairing(
        paired,
        np.bincount(gt_type[gt_alone], minlength=size),
        np.bincount(pred_type[pred_alone], minlength=size),
        names,
    )


def _types(codes: Ints | None, n: int, typed: bool) -> Ints:
    return codes + 1 if typed and codes is not None else np.zeros(n, np.int64)


def phantom(xy: Floats, types: Ints) -> tuple[Floats, Ints]:
    """Add the cell of type 0 at (0, 0) that the official code gives a side without cells."""
    return (xy, types) if len(xy) else (np.zeros((1, 2)), np.zeros(1, np.int64))


def total(numbers: Sequence[Pairing]) -> Pairing:
    """Sum over images."""
    zero = np.zeros(1, np.int64)
    whole = Pairing(np.zeros((1, 1), np.int64), zero, zero, ())
    for n in numbers:
        whole = whole + n
    return whole


def detection(n: Pairing) -> tuple[float, float, float]:
    """Compute F, precision and recall of detection, regardless of types."""
    tp, fn, fp = int(n.paired.sum()), int(n.unpaired_gt.sum()), int(n.unpaired_pred.sum())
    return ratio(2 * tp, 2 * tp + fp + fn), ratio(tp, tp + fp), ratio(tp, tp + fn)


def type_scores(n: Pairing, index: int, *, gt_typed: bool = True) -> tuple[float, float, float]:
    """Compute F, precision and recall of one type with HoVer-Net's weights (2, 2, 1, 1).

    If `gt_typed` is False, pairs whose true cell has no type do not count as type errors.
    """
    tp = int(n.paired[index, index])
    fp_type = int(n.paired[:, index].sum()) - tp
    fn_type = int(n.paired[index, :].sum()) - tp
    if not gt_typed:
        fp_type -= int(n.paired[0, index])
    fp, fn = int(n.unpaired_pred[index]), int(n.unpaired_gt[index])
    f = ratio(2 * tp, 2 * tp + 2 * fp_type + 2 * fn_type + fp + fn)
    return f, ratio(tp, tp + 2 * fp_type + fp), ratio(tp, tp + 2 * fn_type + fn)


def confusion(n: Pairing) -> dict[str, Any]:
    """Make the confusion matrix: rows true, columns predicted, unpaired cells under background."""
    labels = ["untyped", *n.names]
    size = len(labels)
    matrix = np.zeros((size + 1, size + 1), np.int64)
    matrix[:size, :size] = n.paired
    matrix[:size, size] = n.unpaired_gt
    matrix[size, :size] = n.unpaired_pred
    keep = [k for k in range(size + 1) if k or matrix[0].any() or matrix[:, 0].any()]
    names = [*labels, "background"]
    return {"labels": [names[k] for k in keep], "matrix": matrix[np.ix_(keep, keep)].tolist()}


def resample(numbers: Sequence[Pairing], weights: NDArray[Any], mode: Mode, **_: Any) -> Floats:
    """Compute F of detection of resampled images, float64 (B,)."""
    rows = np.asarray([(n.paired.sum(), n.unpaired_gt.sum(), n.unpaired_pred.sum()) for n in numbers], np.float64)
    tp, fn, fp = (weights @ rows).T
    return divided(2 * tp, 2 * tp + fp + fn)
