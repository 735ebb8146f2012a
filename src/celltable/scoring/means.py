"""Averages over images that metrics share: plain, NaN skipped and counted, and their bootstrap over images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.plugins.metric import Mode, Result

Floats = NDArray[np.float64]


def nanmean(values: ArrayLike) -> float:
    """The mean without NaN, as numpy.nanmean sums it; NaN (and no warning) where nothing is left.

    >>> nanmean([1.0, float("nan"), 2.0])
    1.5
    """
    if isinstance(values, list | tuple) and len(values) < 8:  # numpy adds so few one after another, as here
        known = [v for v in values if v == v]
        return float(sum(known) / len(known)) if known else float("nan")
    array = np.asarray(values, np.float64)
    return float(np.nanmean(array)) if (~np.isnan(array)).any() else float("nan")


def ratio(top: float, bottom: float) -> float:
    """top / bottom, NaN for a bottom of zero."""
    return top / bottom if bottom else float("nan")


def divided(top: ArrayLike, bottom: ArrayLike, nothing: float = float("nan")) -> Floats:
    """top / bottom of arrays, `nothing` where the bottom is zero.

    >>> divided([1.0, 2.0], [2.0, 0.0])
    array([0.5, nan])
    """
    above, below = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    if below.all():
        return np.asarray(above / below)
    out = np.full(np.broadcast_shapes(above.shape, below.shape), nothing)
    return np.asarray(np.divide(above, below, out=out, where=below != 0))


def nanmeans(columns: Floats) -> list[float]:
    """`nanmean` of each column of (n, k), summed in the same order."""
    rows = np.ascontiguousarray(columns.T)
    if not rows.size or np.isnan(rows).any() or rows.shape[1] < 8:
        return [nanmean(row) for row in rows]
    return [float(v) for v in rows.mean(axis=1)]


def averaged(numbers: Sequence[Mapping[str, float]], headline: str, mode: Mode, reason: str) -> Result:
    """The mean over images of each number: NaN carried on in strict mode, skipped and counted in corrected mode."""
    fields: dict[str, Any] = {}
    for key in numbers[0] if numbers else (headline,):
        column = np.asarray([n[key] for n in numbers], np.float64)
        if mode == "strict":
            fields[key] = float(np.mean(column)) if len(column) else float("nan")
        else:
            fields[key] = nanmean(column)
    empty = sum(bool(np.isnan(n[headline])) for n in numbers)
    fields = {headline: fields[headline], **fields}  # first: of equal numbers the first names the headline
    return Result(fields[headline], fields, {reason: empty} if empty and mode != "strict" else {})


def weighted_mean(values: ArrayLike, weights: NDArray[Any], *, skip: bool = True) -> Floats:
    """Mean of the values for each row of weights (B, n), float64 (B,); NaN values are left out."""
    array = np.asarray(values, np.float64)
    there = ~np.isnan(array)
    if not skip and not there.all():
        return np.full(len(weights), np.nan)
    total = weights[:, there].sum(axis=1)
    return divided(weights[:, there] @ array[there], total)


def weighted_sums(columns: ArrayLike, weights: NDArray[Any]) -> Floats:
    """Sums of the columns (n, k) for each row of weights (B, n), float64 (B, k)."""
    return np.asarray(weights @ np.asarray(columns, np.float64), np.float64)


def resample_mean(key: str) -> Callable[..., Floats]:
    """A `resample` for metrics whose score is the mean over images of one number of their dictionary."""

    def resample(numbers: Sequence[Mapping[str, float]], weights: NDArray[Any], mode: Mode, **_: Any) -> Floats:
        return weighted_mean([n[key] for n in numbers], weights, skip=mode != "strict")

    return resample


def value_of(key: str) -> Callable[..., float]:
    """A `value_of` that reads one number of the dictionary of an image."""

    def read(numbers: Mapping[str, float], mode: Mode, **_: Any) -> float:
        return float(numbers[key])

    return read
