"""Counts of cells per image: what is counted, and the coefficient of determination."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import Mode, Pair

Floats = NDArray[np.float64]


def count(pair: Pair, mode: Mode, **_: Any) -> tuple[float, float]:
    """(true count, predicted count) of one image; the image's own published count where it has one.

    The column `count` of the image is that number (LIVECell's fluorescence counts); else the ground-truth cells are
    counted.
    """
    published = pair.meta.get("count")
    seen = pair.seen(mode)
    true = float(published) if published is not None else float(len(seen.gt))
    return true, float(len(seen.pred))


def columns(numbers: Sequence[tuple[float, float]]) -> tuple[Floats, Floats]:
    """True and predicted counts without the images where either is unknown."""
    table = np.asarray(numbers, np.float64).reshape(-1, 2)
    table = table[~np.isnan(table).any(axis=1)]
    return table[:, 0], table[:, 1]


def r2_score(true: ArrayLike, pred: ArrayLike) -> float:
    """Coefficient of determination as scikit-learn has it: constant truth gives 1 if perfect, else 0; NaN below two.

    >>> r2_score([1, 2, 3], [1, 2, 4])
    0.5
    """
    y, f = np.asarray(true, np.float64), np.asarray(pred, np.float64)
    if len(y) < 2:
        return float("nan")
    residual = float(((y - f) ** 2).sum())
    spread = float(((y - np.average(y)) ** 2).sum())
    if spread == 0:
        return 1.0 if residual == 0 else 0.0
    return 1 - residual / spread


def difference(numbers: tuple[float, float], mode: Mode, **_: Any) -> float:
    """Predicted minus true count of one image."""
    return numbers[1] - numbers[0]
