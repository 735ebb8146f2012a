"""Mean absolute percentage error of cell counts per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Card, Metric, Mode, Result
from ._counts import columns, count
from ._means import nanmean, weighted_mean

CARD = Card(
    title="Mean absolute percentage error of counts",
    quantity="mean of |predicted - true| / true, as a fraction",
    authority="statistics of counts; no single authority",
    citation=(
        "Hyndman and Koehler, Another look at measures of forecast accuracy, Int. J. Forecasting 22 (2006), 679-688"
    ),
    doi="10.1016/j.ijforecast.2006.03.001",
    formula="mean over images of |f - y| / y",
    matching="none: cells are only counted",
    ties="none",
    averaging="mean over images",
    empty="undefined at a true count of 0: left out and counted",
    regions="crowd and ignore regions are not counted (corrected) or counted as a cell (strict)",
    namesakes="mae is in cells",
)


def value_of(numbers: tuple[float, float], mode: Mode, **_: Any) -> float:
    """The relative error of one image; NaN at a true count of 0."""
    true, pred = numbers
    return abs(pred - true) / true if true else float("nan")


def pool(numbers: Sequence[tuple[float, float]], mode: Mode, **_: Any) -> Result:
    """The mean over images."""
    true, pred = columns(numbers)
    value = nanmean([value_of((t, p), mode) for t, p in zip(true, pred, strict=True)])
    fields = {"mape": value, "n": len(true)}
    left_out = int(np.isnan([value_of(n, mode) for n in numbers]).sum()) if numbers else 0
    return Result(value, fields, {"images with a true count of 0 or unknown": left_out} if left_out else {})


def resample(
    numbers: Sequence[tuple[float, float]], weights: NDArray[Any], mode: Mode, **_: Any
) -> NDArray[np.float64]:
    """Means over resampled images."""
    return weighted_mean([value_of(n, mode) for n in numbers], weights)


METRIC = Metric("mape", CARD, count, pool, value_of=value_of, resample=resample, better="lower")
