"""Uncertainty over images: seeded bootstrap replicates of a score, and the interval they span."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins.metric import Metric, Mode

Floats = NDArray[np.float64]

CHUNK = 4_000_000  # weights in memory at once
SLOW_IMAGES, SLOW_ROUNDS = 300, 200  # limits for metrics without a vectorised `resample`


def draws(n: int, rounds: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Draw n images with replacement `rounds` times: how often each is drawn, int64 (rows, n), in chunks of rows.

    The same seed gives the same draws.
    """
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // max(n, 1))
    for start in range(0, rounds, step):
        yield rng.multinomial(n, np.full(n, 1.0 / n), size=min(step, rounds - start))


def replicates(
    metric: Metric, numbers: Sequence[Any], mode: Mode, options: Mapping[str, Any], rounds: int, seed: int
) -> Floats | None:
    """Score `rounds` resamples of the images, float64 (rounds,); None for one image or if it would take too long."""
    n = len(numbers)
    if n < 2 or rounds < 1:
        return None
    if metric.resample is not None:
        return np.concatenate([metric.resample(numbers, w, mode, **options) for w in draws(n, rounds, seed)])
    if n > SLOW_IMAGES or metric.heavy:
        return None
    out = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an image drawn twice has equal scores, which is expected here
        for weights in draws(n, min(rounds, SLOW_ROUNDS), seed):
            for row in weights:
                picked = [numbers[i] for i in np.repeat(np.arange(n), row).tolist()]
                out.append(metric.pool(picked, mode, **options).value)
    return np.asarray(out, np.float64)


def interval(values: Floats | None) -> tuple[float, float] | None:
    """Return the middle 95 % of the replicates; None if there are none or all are NaN."""
    if values is None:
        return None
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
