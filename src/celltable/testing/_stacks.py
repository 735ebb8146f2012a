"""Cells for testing all plug-ins: clean ones, and random masks that overlap, touch and have holes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Sample
from celltable.plugins.example import discs, painted

SIZE = (40, 60)
PLACES = [(10, 10, 6), (28, 12, 6), (12, 30, 6), (28, 30, 6), (12, 48, 6), (29, 48, 6)]


def clean() -> Sample:
    """Draw six round cells of one size, apart from each other and from the border."""
    return painted(discs(*PLACES, size=SIZE), SIZE)


def random_samples(n: int = 30, seed: int = 0) -> Iterator[Sample]:
    """Generate samples of up to five random masks of up to 12 × 12 px: some sparse, some full, some empty."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        size = (int(rng.integers(2, 13)), int(rng.integers(2, 13)))
        stack: NDArray[np.bool_] = rng.random((int(rng.integers(1, 6)), *size)) < rng.choice([0.0, 0.2, 0.6, 0.9])
        yield painted(list(stack), size)
