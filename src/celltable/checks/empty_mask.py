"""Cells without a single pixel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.plugins.check import Check


def find(sample: Sample) -> Iterator[Finding]:
    """One finding for each cell whose mask has no pixel."""
    cells = sample.instances
    for i in np.flatnonzero(cells.area == 0).tolist():
        yield Finding("empty-mask", "the mask has no pixel", "error", sample.image.image_id, int(cells.ids[i]), 0.0)


CHECK = Check(
    rule="empty-mask",
    title="Empty mask",
    description=(
        "A cell without a single pixel. Counts and recall would include a cell that does not exist. Value: area, px²."
    ),
    find=find,
    severity="error",
    repairs=("drop-specks",),
)
