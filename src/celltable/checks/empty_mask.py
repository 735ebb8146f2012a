"""Cells without any pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, painted


def find(sample: Sample) -> Iterator[Finding]:
    """Yield one finding per cell whose mask is empty."""
    cells = sample.instances
    for i in np.flatnonzero(cells.area == 0).tolist():
        yield Finding("empty-mask", "the mask has no pixels", "error", sample.image.image_id, int(cells.ids[i]), 0.0)


def example() -> CheckExample:
    """Return a cell of four pixels and one without pixels."""
    masks = [np.ones((2, 2), bool), np.zeros((2, 2), bool)]
    return CheckExample.of(painted(masks, (2, 2)), at=[("a", 2)])


CHECK = Check(
    rule="empty-mask",
    title="Empty mask",
    description=(
        "A cell without any pixels. Counts and recall would include a cell that does not exist. Value: area, px²."
    ),
    find=find,
    severity="error",
    repairs=("drop-specks",),
    example=example,
)
