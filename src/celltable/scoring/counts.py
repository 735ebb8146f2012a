"""Counts of cells per image: what is counted, and the coefficient of determination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.plugins.metric import Card, Metric, Mode, Result

from .means import nanmean, weighted_mean
from .pair import Pair

Floats = NDArray[np.float64]
Counts = tuple[float, float]  # true and predicted cells of one image

CARD: Final = Card(
    title="Counts",
    quantity="",
    authority="statistics of counts; no single authority",
    citation=(
        "Hyndman and Koehler, Another look at measures of forecast accuracy, Int. J. Forecasting 22 (2006), 679-688"
    ),
    doi="10.1016/j.ijforecast.2006.03.001",
    formula="",
    matching="none: cells are only counted",
    ties="none",
    averaging="mean over images",
    empty="an image without cells counts as 0",
    regions="crowd and ignore regions are not counted (corrected) or counted as a cell (strict)",
)


def count(pair: Pair, mode: Mode, **_: Any) -> Counts:
    """(true count, predicted count) of one image; the image's own published count where it has one.

    The column `count` of the image is that number (LIVECell's fluorescence counts); else the ground-truth cells are
    counted.
    """
    published = pair.meta.get("count")
    seen = pair.seen(mode)
    true = float(published) if published is not None else float(len(seen.gt))
    return true, float(len(seen.pred))


def columns(numbers: Sequence[Counts]) -> tuple[Floats, Floats]:
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


def difference(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Predicted minus true count of one image."""
    return numbers[1] - numbers[0]


def mean_error(
    name: str,
    card: Card,
    error: Callable[..., float],
    *,
    also: Callable[[Floats, Floats], dict[str, float]] = lambda true, pred: {},
    left_out: str = "images without a known count",
    better: Literal["lower", "zero"] = "lower",
) -> Metric:
    """A metric that is the mean over images of an error of the count.

    `error` is that of one image, NaN where it is undefined: such images are left out and counted as `left_out`. `also`
    gives further numbers of all true and predicted counts.
    """

    def pool(numbers: Sequence[Counts], mode: Mode, **_: Any) -> Result:
        true, pred = columns(numbers)
        value = nanmean([error(pair, mode) for pair in zip(true, pred, strict=True)])
        lost = int(np.isnan([error(n, mode) for n in numbers]).sum()) if numbers else 0
        return Result(value, {name: value, **also(true, pred), "n": len(true)}, {left_out: lost} if lost else {})

    def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> Floats:
        return weighted_mean([error(n, mode) for n in numbers], weights)

    return Metric(name, card, count, pool, value_of=error, resample=resample, better=better)
