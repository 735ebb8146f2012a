"""Mean absolute error of cell counts per image, with the root mean square."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Card, Metric, Mode, Result
from ._counts import columns, count
from ._means import nanmean, weighted_mean

CARD = Card(
    title="Mean absolute error of counts",
    quantity="mean of |predicted - true| in cells; also the root of the mean square",
    authority="statistics of counts; no single authority",
    citation=(
        "Hyndman and Koehler, Another look at measures of forecast accuracy, Int. J. Forecasting 22 (2006), 679-688"
    ),
    doi="10.1016/j.ijforecast.2006.03.001",
    formula="mean over images of |f - y|; RMSE = sqrt(mean (f - y)^2)",
    matching="none: cells are only counted",
    ties="none",
    averaging="mean over images",
    empty="an image without cells counts as 0",
    regions="crowd and ignore regions are not counted (corrected) or counted as a cell (strict)",
    unit="cells",
    namesakes="mape is relative to the true count",
)


def value_of(numbers: tuple[float, float], mode: Mode, **_: Any) -> float:
    """The error of one image in cells."""
    true, pred = numbers
    return abs(pred - true)


def pool(numbers: Sequence[tuple[float, float]], mode: Mode, **_: Any) -> Result:
    """The mean over images."""
    true, pred = columns(numbers)
    value = nanmean([value_of((t, p), mode) for t, p in zip(true, pred, strict=True)])
    fields = {"mae": value, "rmse": float(np.sqrt(nanmean((pred - true) ** 2))), "n": len(true)}
    left_out = int(np.isnan([value_of(n, mode) for n in numbers]).sum()) if numbers else 0
    return Result(value, fields, {"images without a known count": left_out} if left_out else {})


def resample(
    numbers: Sequence[tuple[float, float]], weights: NDArray[Any], mode: Mode, **_: Any
) -> NDArray[np.float64]:
    """Means over resampled images."""
    return weighted_mean([value_of(n, mode) for n in numbers], weights)


METRIC = Metric("mae", CARD, count, pool, value_of=value_of, resample=resample, better="lower")
