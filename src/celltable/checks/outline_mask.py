"""Masks that are only the outline of a cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.checks._shapes import judged, shapes_of
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

MAX_FILL = 0.6  # DSB2018's nuclei with holes still cover 0.8 or more of their filled area
MIN_FILLED_PX = 30  # a ring smaller than that is a speck


def find(sample: Sample, *, max_fill: float = MAX_FILL, min_filled_px: float = MIN_FILLED_PX) -> Iterator[Finding]:
    """Yield one finding per cell whose mask covers less than `max_fill` of the area it encloses."""
    cells, shapes = sample.instances, shapes_of(sample)
    filled = cells.area + shapes.hole_area
    fill = cells.area / np.maximum(filled, 1)
    for i in np.flatnonzero((fill < max_fill) & (filled >= min_filled_px) & judged(sample)).tolist():
        yield Finding(
            "outline-mask",
            f"the mask is an outline: it covers {fill[i]:.0%} of the {int(filled[i]):,} px that it encloses",
            "error",
            sample.image.image_id,
            int(cells.ids[i]),
            float(1 - fill[i]),
        )


def example() -> CheckExample:
    """Return a line around a large hole, and a filled cell."""
    cells = """
        11111111.222
        1......1.222
        1......1.222
        1......1.222
        1......1.222
        11111111.222
    """
    return CheckExample.of(drawn(cells), at=[("a", 1)])


CHECK = Check(
    rule="outline-mask",
    title="Outline instead of a filled mask",
    description=(
        "A mask that is a closed line around a large hole: the cell's outline was exported instead of the cell. "
        "Value: share of the enclosed area that the mask leaves open (0 to 1)."
    ),
    find=find,
    severity="error",
    options=(
        Option("max_fill", MAX_FILL, "share of its enclosed area below which a mask is an outline", low=0, high=1),
        Option("min_filled_px", MIN_FILLED_PX, "smallest enclosed area of an outline", type=float, low=1, unit="px²"),
    ),
    repairs=("fill-outlines", "fill-holes"),
    example=example,
)
