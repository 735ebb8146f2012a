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
    """How many pairs there are of each true and predicted type, and unpaired cells of each type.

    Type 0 is a cell without a type (and the phantom of an empty image in strict mode); class code k is type k + 1.
    """

    paired: Ints
    unpaired_true: Ints
    unpaired_pred: Ints
    names: tuple[str, ...]

    def __add__(self, other: Pairing) -> Pairing:
        size = max(len(self.unpaired_true), len(other.unpaired_true))
        names = self.names or other.names
        parts = [_grown(x, size) + _grown(y, size) for x, y in zip(self._parts(), other._parts(), strict=True)]
        return Pairing(parts[0], parts[1], parts[2], names)

    def _parts(self) -> tuple[Ints, Ints, Ints]:
        return self.paired, self.unpaired_true, self.unpaired_pred


def _grown(array: Ints, size: int) -> Ints:
    return np.pad(array, [(0, size - n) for n in array.shape])


def count(pair: Pair, mode: Mode, radius: float) -> Pairing:
    """Pair the cells of one image."""
    seen = pair.seen(mode)
    refuse_many(len(seen.gt), len(seen.pred))  # before the centres are looked for
    names = seen.class_names if seen.has_classes else ()
    true_xy, true_type = seen.gt_centroids, _types(seen.gt.class_codes, len(seen.gt), bool(names))
    pred_xy, pred_type = seen.pred_centroids, _types(seen.pred.class_codes, len(seen.pred), bool(names))
    if mode == "strict":  # an image without cells gets one at (0, 0), of type 0
        true_xy, true_type = phantom(true_xy, true_type)
        pred_xy, pred_type = phantom(pred_xy, pred_type)
    if len(seen.gt) and len(seen.pred):
        a, b, distance = seen.nearest_centres
        paired = a[distance <= radius], b[distance <= radius]
    else:
        paired = pair_points(true_xy, pred_xy, radius)
    return pair_types(paired, true_type, pred_type, names)


def pair_types(rows: tuple[Ints, Ints], true_type: Ints, pred_type: Ints, names: tuple[str, ...]) -> Pairing:
    """Count what was paired with what, from paired rows and types (0 = none, k = names[k - 1])."""
    a, b = rows
    size = len(names) + 1
    paired = np.bincount(true_type[a] * size + pred_type[b], minlength=size * size).reshape(size, size)
    left, over = np.ones(len(true_type), bool), np.ones(len(pred_type), bool)
    left[a] = False
    over[b] = False
    return Pairing(
        paired,
        np.bincount(true_type[left], minlength=size),
        np.bincount(pred_type[over], minlength=size),
        names,
    )


def _types(codes: Ints | None, n: int, typed: bool) -> Ints:
    return codes + 1 if typed and codes is not None else np.zeros(n, np.int64)


def phantom(xy: Floats, types: Ints) -> tuple[Floats, Ints]:
    """Add the cell of type 0 at (0, 0) that the official code gives a side without cells."""
    return (xy, types) if len(xy) else (np.zeros((1, 2)), np.zeros(1, np.int64))


def total(numbers: Sequence[Pairing]) -> Pairing:
    """The sum over images."""
    zero = np.zeros(1, np.int64)
    whole = Pairing(np.zeros((1, 1), np.int64), zero, zero, ())
    for n in numbers:
        whole = whole + n
    return whole


def detection(n: Pairing) -> tuple[float, float, float]:
    """F, precision and recall of detection, whatever the types."""
    tp, fn, fp = int(n.paired.sum()), int(n.unpaired_true.sum()), int(n.unpaired_pred.sum())
    return ratio(2 * tp, 2 * tp + fp + fn), ratio(tp, tp + fp), ratio(tp, tp + fn)


def type_scores(n: Pairing, kind: int, *, true_known: bool = True) -> tuple[float, float, float]:
    """F, precision and recall of one type with HoVer-Net's weights (2, 2, 1, 1)."""
    tp = int(n.paired[kind, kind])
    fp_type = int(n.paired[:, kind].sum()) - tp
    fn_type = int(n.paired[kind, :].sum()) - tp
    if not true_known:
        fp_type -= int(n.paired[0, kind])
    fp, fn = int(n.unpaired_pred[kind]), int(n.unpaired_true[kind])
    f = ratio(2 * tp, 2 * tp + 2 * fp_type + 2 * fn_type + fp + fn)
    return f, ratio(tp, tp + 2 * fp_type + fp), ratio(tp, tp + 2 * fn_type + fn)


def confusion(n: Pairing) -> dict[str, Any]:
    """The confusion matrix, rows true, columns predicted, with unpaired cells under background."""
    labels = ["untyped", *n.names]
    size = len(labels)
    matrix = np.zeros((size + 1, size + 1), np.int64)
    matrix[:size, :size] = n.paired
    matrix[:size, size] = n.unpaired_true
    matrix[size, :size] = n.unpaired_pred
    keep = [k for k in range(size + 1) if k or matrix[0].any() or matrix[:, 0].any()]
    names = [*labels, "background"]
    return {"labels": [names[k] for k in keep], "matrix": matrix[np.ix_(keep, keep)].tolist()}


def resample(numbers: Sequence[Pairing], weights: NDArray[Any], mode: Mode, **_: Any) -> Floats:
    """F of detection of resampled images."""
    rows = np.asarray([(n.paired.sum(), n.unpaired_true.sum(), n.unpaired_pred.sum()) for n in numbers], np.float64)
    tp, fn, fp = (weights @ rows).T
    return divided(2 * tp, 2 * tp + fp + fn)
