"""A check: masks that fill their bounding box, as no real cell does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

MIN_FILL = 1.0
MIN_PX = 4  # smaller masks are always squares or lines


def find(sample: Sample, *, min_fill: float = MIN_FILL, min_px: float = MIN_PX) -> Iterator[Finding]:
    """Yield one finding per cell that fills at least `min_fill` of its box."""
    cells = sample.instances
    boxes = np.maximum(cells.bbox[:, 2].astype(np.float64) * cells.bbox[:, 3], 1)
    fill = cells.area / boxes
    for i in np.flatnonzero((fill >= min_fill) & (cells.area >= min_px)).tolist():
        text = f"the mask fills {fill[i]:.0%} of its box"
        yield Finding("square-cell", text, "warning", sample.image.image_id, int(cells.ids[i]), float(fill[i]))


def example() -> CheckExample:
    """A square and a cross."""
    cells = """
        111..2.
        111.222
        111..2.
    """
    return CheckExample.of(drawn(cells), at=[("a", 1)])


CHECK = Check(
    rule="square-cell",
    title="Square cell",
    description="A mask that is its own box: a box was exported instead of the cell. Value: share of the box (0 to 1).",
    find=find,
    options=(
        Option("min_fill", MIN_FILL, "share of its box from which a mask is square", low=0, high=1),
        Option("min_px", MIN_PX, "area from which a square is reported", type=float, low=1, unit="px²"),
    ),
    repairs=("round-corners",),
    example=example,
)
