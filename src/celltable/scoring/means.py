"""Means over images, shared by metrics: of all values, of defined values, and of resampled images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.plugins.metric import Mode, Result

Floats = NDArray[np.float64]


def nanmean(values: ArrayLike) -> float:
    """Average without NaN, in numpy.nanmean's order of summation; NaN without a warning if nothing is left.

    >>> nanmean([1.0, float("nan"), 2.0])
    1.5
    """
    if isinstance(values, list | tuple) and len(values) < 8:  # numpy also sums so few one by one
        known = [v for v in values if v == v]
        return float(sum(known) / len(known)) if known else float("nan")
    array = np.asarray(values, np.float64)
    return float(np.nanmean(array)) if (~np.isnan(array)).any() else float("nan")


def ratio(top: float, bottom: float) -> float:
    """Divide; NaN if the denominator is zero."""
    return top / bottom if bottom else float("nan")


def divided(top: ArrayLike, bottom: ArrayLike, nothing: float = float("nan")) -> Floats:
    """Divide arrays element-wise; `nothing` where the denominator is zero.

    >>> divided([1.0, 2.0], [2.0, 0.0])
    array([0.5, nan])
    """
    above, below = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    if below.all():
        return np.asarray(above / below)
    out = np.full(np.broadcast_shapes(above.shape, below.shape), nothing)
    return np.asarray(np.divide(above, below, out=out, where=below != 0))


def nanmeans(columns: Floats) -> list[float]:
    """Average each column of (n, k) as `nanmean` does, with the same order of summation."""
    rows = np.ascontiguousarray(columns.T)
    if not rows.size or np.isnan(rows).any() or rows.shape[1] < 8:
        return [nanmean(row) for row in rows]
    return [float(v) for v in rows.mean(axis=1)]


def weighted_mean(values: ArrayLike, weights: NDArray[Any], *, skip: bool = True) -> Floats:
    """Average the values with each row of weights (B, n), float64 (B,).

    NaN values are left out if `skip`; otherwise they make every mean NaN.
    """
    array = np.asarray(values, np.float64)
    there = ~np.isnan(array)
    if not skip and not there.all():
        return np.full(len(weights), np.nan)
    total = weights[:, there].sum(axis=1)
    return divided(weights[:, there] @ array[there], total)


def weighted_sums(columns: ArrayLike, weights: NDArray[Any]) -> Floats:
    """Sum the columns (n, k) with each row of weights (B, n), float64 (B, k)."""
    return np.asarray(weights @ np.asarray(columns, np.float64), np.float64)


@dataclass(frozen=True, slots=True)
class MeanOverImages:
    """The pooling of a metric whose score is the mean over images of one of the numbers that `count` returns.

    `count` returns a mapping of names to numbers. NaN (undefined) values make the mean NaN in strict mode; corrected
    mode leaves such images out and counts them.

    Attributes
    ----------
    key
        The name of the headline number.
    left_out
        What the images with an undefined headline number are called where they are counted.
    """

    key: str
    left_out: str = "images without cells on either side"

    def pool(self, numbers: Sequence[Mapping[str, float]], mode: Mode, **_: Any) -> Result:
        """Average each number over the images."""
        fields: dict[str, Any] = {}
        for key in numbers[0] if numbers else (self.key,):
            column = np.asarray([n[key] for n in numbers], np.float64)
            if mode == "strict":
                fields[key] = float(np.mean(column)) if len(column) else float("nan")
            else:
                fields[key] = nanmean(column)
        undefined = sum(bool(np.isnan(n[self.key])) for n in numbers)
        fields = {self.key: fields[self.key], **fields}  # first: of equal numbers the first names the headline
        skipped = {self.left_out: undefined} if undefined and mode != "strict" else {}
        return Result(fields[self.key], fields, skipped)

    def value_of(self, numbers: Mapping[str, float], mode: Mode, **_: Any) -> float:
        """Return the headline number of one image."""
        return float(numbers[self.key])

    def resample(
        self, numbers: Sequence[Mapping[str, float]], weights: NDArray[Any], mode: Mode, **_: Any
    ) -> NDArray[np.float64]:
        """Average the headline number over resampled images, float64 (B,)."""
        return weighted_mean([n[self.key] for n in numbers], weights, skip=mode != "strict")
