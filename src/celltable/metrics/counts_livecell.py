"""LIVECell's fluorescence count benchmark: R2 of counts below 1,600 cells, and the count where linearity ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring.counts import Floats, columns, count, difference, r2_score
from celltable.scoring.means import divided

FULL = 1600  # cells per image, roughly full confluency: the notebook's threshold
START, STEP, P_CUTOFF, NEIGHBOURS = 500, 1, 1e-5, 5  # the notebook's defaults

CARD = Card(
    title="LIVECell cell counts",
    quantity="R2 of predicted against true counts on images with fewer than 1,600 cells, and the linearity break",
    authority="LIVECell, Fluorescence cell count evaluation.ipynb",
    citation=(
        "Edlund et al., LIVECell: a large-scale dataset for label-free live cell segmentation, Nature Methods "
        "18 (2021), 1038-1045"
    ),
    doi="10.1038/s41592-021-01249-6",
    url="https://github.com/sartorius-research/LIVECell",
    formula="R2 = 1 - sum (y-f)^2 / sum (y-mean y)^2. Break: the first T = 500, 501, … where, on images with fewer "
    "than T cells, the residuals of a straight line and of the 5 nearest neighbours differ in spread (Levene, p < "
    "1e-5)",
    matching="none: cells are only counted",
    ties="of images with equally near predicted counts, the first in image order",
    averaging="over images",
    empty="an image without cells counts as 0; images whose count is unknown are left out",
    thresholds="1,600 cells (option below)",
    strict="without a break the official code returns the last T tried; corrected mode reports NaN",
    regions="crowd and ignore regions are not counted (corrected), or each counts as one cell (strict)",
    namesakes="pq_conic's R2 is a mean over classes",
)


def nearest_mean(x: Floats, y: Floats, k: int) -> Floats:
    """Average y over the k nearest x of each x, including itself; of equally near ones, take the lower.

    >>> nearest_mean(np.array([1.0, 2.0, 9.0]), np.array([1.0, 3.0, 5.0]), 2)
    array([2., 2., 4.])
    """
    order = np.argsort(x, kind="stable")
    ranked, values, n = x[order], y[order], len(x)
    window = np.arange(n)[:, None] + np.arange(1 - k, k)  # the k nearest of a sorted value are within k - 1 places
    inside = (window >= 0) & (window < n)
    window = np.clip(window, 0, n - 1)
    distance = np.where(inside, np.abs(ranked[window] - ranked[:, None]), np.inf)
    near = np.take_along_axis(window, np.argsort(distance, axis=1, kind="stable")[:, :k], axis=1)
    out = np.empty(n)
    out[order] = values[near].mean(axis=1)
    return out


def linearity_break(true: Floats, pred: Floats) -> tuple[float, bool]:
    """Return the first threshold where the fit is no longer linear and True, or the last one tried and False."""
    from scipy import stats

    last = float("nan")
    known: tuple[int, bool] = (-1, False)
    end = int(true.max()) if len(true) else 0
    if len(true) < NEIGHBOURS:  # no threshold can be tried, whatever the counts
        return float(end - 1) if end > START else last, False
    for threshold in range(START, end, STEP):
        last = float(threshold)
        below = true < threshold
        n = int(below.sum())
        if n < NEIGHBOURS:
            continue
        if n != known[0]:
            y, x = true[below], pred[below]
            centred = x - x.mean()
            spread = float(centred @ centred)
            slope = float(centred @ (y - y.mean())) / spread if spread else 0.0
            line = y.mean() + slope * centred
            p = float(stats.levene(y - nearest_mean(x, y, NEIGHBOURS), y - line).pvalue)
            known = (n, p < P_CUTOFF)
        if known[1]:
            return last, True
    return last, False


def pool(numbers: Sequence[tuple[float, float]], mode: Mode, below: float, **_: Any) -> Result:
    """Compute R2 and the linearity break over all images."""
    true, pred = columns(numbers)
    small = true < below
    r2 = r2_score(true[small], pred[small])
    at, breaks = linearity_break(true, pred)
    if mode != "strict" and not breaks:
        at = float("nan")
    fields = {"R2": r2, "linearity_break": at, "n_images": len(true), "n_below": int(small.sum())}
    skipped = {"images without a known count": len(numbers) - len(true)} if len(true) < len(numbers) else {}
    return Result(r2, fields, skipped)


def resample(
    numbers: Sequence[tuple[float, float]], weights: NDArray[Any], mode: Mode, below: float, **_: Any
) -> Floats:
    """Compute R2 of resampled images, float64 (B,)."""
    table = np.asarray(numbers, np.float64).reshape(-1, 2)
    small = table[:, 0] < below
    y, f, w = table[small, 0], table[small, 1], weights[:, small].astype(np.float64)
    total = w.sum(axis=1)
    mean = divided(w @ y, total, 0.0)
    spread = w @ (y * y) - total * mean * mean
    residual = w @ ((y - f) ** 2)
    flat = np.where(total < 2, np.nan, (residual == 0).astype(np.float64))  # as r2_score for a constant truth
    return np.where(spread > 1e-9, 1 - divided(residual, spread), flat)


OPTIONS = (Option("below", FULL, "images with fewer true cells than this enter R2", type=float, above=0),)
METRIC = Metric("counts_livecell", CARD, count, pool, options=OPTIONS, value_of=difference, resample=resample)
