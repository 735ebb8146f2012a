"""Numbers of cells per image: the counts, mean errors, and the coefficient of determination."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    """Count the true and the predicted cells of one image.

    If the image has a published count (its column `count`, such as LIVECell's fluorescence counts), that is the truth.
    """
    published = pair.meta.get("count")
    seen = pair.seen(mode)
    true = float(published) if published is not None else float(len(seen.gt))
    return true, float(len(seen.pred))


def columns(numbers: Sequence[Counts]) -> tuple[Floats, Floats]:
    """Return true and predicted counts, float64 (n,) each, without the images where either is unknown."""
    table = np.asarray(numbers, np.float64).reshape(-1, 2)
    table = table[~np.isnan(table).any(axis=1)]
    return table[:, 0], table[:, 1]


def r2_score(true: ArrayLike, pred: ArrayLike) -> float:
    """Compute the coefficient of determination as scikit-learn does.

    Constant truth gives 1 for a perfect prediction, else 0; fewer than two values give NaN.

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
    """Subtract the true from the predicted count of one image."""
    return numbers[1] - numbers[0]


def _nothing(true: Floats, pred: Floats) -> dict[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class MeanError:
    """The mean of a count error over images.

    Attributes
    ----------
    name
        The name of the metric and of its headline number.
    error
        ``error(counts, mode)`` → the error of one image, NaN if undefined.
    also
        ``also(true, pred)`` → further numbers from all true and predicted counts.
    left_out
        The label under which images with an undefined error are counted.
    """

    name: str
    error: Callable[..., float]
    also: Callable[[Floats, Floats], dict[str, float]] = _nothing
    left_out: str = "images without a known count"

    def pool(self, numbers: Sequence[Counts], mode: Mode, **_: Any) -> Result:
        """Average the error over the images."""
        true, pred = columns(numbers)
        value = nanmean([self.error(counts, mode) for counts in zip(true, pred, strict=True)])
        undefined = int(np.isnan([self.error(n, mode) for n in numbers]).sum()) if numbers else 0
        fields = {self.name: value, **self.also(true, pred), "n": len(true)}
        return Result(value, fields, {self.left_out: undefined} if undefined else {})

    def resample(self, numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> Floats:
        """Average the error over resampled images, float64 (B,)."""
        return weighted_mean([self.error(n, mode) for n in numbers], weights)

    def metric(self, card: Card, better: Literal["lower", "zero"] = "lower") -> Metric:
        """Make the metric."""
        return Metric(self.name, card, count, self.pool, value_of=self.error, resample=self.resample, better=better)
