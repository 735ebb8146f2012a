"""Bias of cell counts: whether a model finds too many or too few cells on average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Card, Metric, Mode, Result
from ._counts import columns, count
from ._means import nanmean, ratio, weighted_mean

CARD = Card(
    title="Bias of counts",
    quantity="mean of predicted - true in cells; also all predicted / all true - 1",
    authority="statistics of counts; no single authority",
    citation=(
        "Hyndman and Koehler, Another look at measures of forecast accuracy, Int. J. Forecasting 22 (2006), 679-688"
    ),
    doi="10.1016/j.ijforecast.2006.03.001",
    formula="mean over images of f - y",
    matching="none: cells are only counted",
    ties="none",
    averaging="mean over images",
    empty="an image without cells counts as 0",
    regions="crowd and ignore regions are not counted (corrected) or counted as a cell (strict)",
    unit="cells",
    namesakes="mae takes the absolute value",
)


def value_of(numbers: tuple[float, float], mode: Mode, **_: Any) -> float:
    """Predicted minus true count of one image."""
    true, pred = numbers
    return pred - true


def pool(numbers: Sequence[tuple[float, float]], mode: Mode, **_: Any) -> Result:
    """The mean over images."""
    true, pred = columns(numbers)
    value = nanmean([value_of((t, p), mode) for t, p in zip(true, pred, strict=True)])
    fields = {"bias": value, "relative_bias": ratio(float(pred.sum() - true.sum()), float(true.sum())), "n": len(true)}
    left_out = int(np.isnan([value_of(n, mode) for n in numbers]).sum()) if numbers else 0
    return Result(value, fields, {"images without a known count": left_out} if left_out else {})


def resample(
    numbers: Sequence[tuple[float, float]], weights: NDArray[Any], mode: Mode, **_: Any
) -> NDArray[np.float64]:
    """Means over resampled images."""
    return weighted_mean([value_of(n, mode) for n in numbers], weights)


METRIC = Metric("bias", CARD, count, pool, value_of=value_of, resample=resample, better="zero")
