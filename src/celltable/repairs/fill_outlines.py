"""Fill cells of which only the outline was kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.geometry.shapes import Shapes
from celltable.records import Edit, Sample
from celltable.repairs import Repair
from celltable.repairs._edits import flags, replace_mask

MAX_FILL = 0.6  # as the check outline-mask
MIN_FILLED_PX = 30


def propose(sample: Sample, *, max_fill: float = MAX_FILL, min_filled_px: float = MIN_FILLED_PX) -> Iterator[Edit]:
    """One edit for each cell whose mask covers less than `max_fill` of what it encloses."""
    cells = sample.instances
    shapes = Shapes.of(cells)
    enclosed = cells.area + shapes.hole_area
    outline = (cells.area < max_fill * enclosed) & (enclosed >= min_filled_px) & ~flags(cells, "crowd")
    chosen = np.flatnonzero(outline)
    for i, mask in zip(chosen.tolist(), shapes.filled(chosen), strict=True):
        if not shapes.meets_others(i, mask):
            reason = f"filled the outline: {int(cells.area[i]):,} of {int(enclosed[i]):,} px were drawn"
            yield replace_mask("fill-outlines", "outline-mask", sample, i, mask, reason)


REPAIR = Repair(
    name="fill-outlines",
    title="Fill outlines",
    description=(
        "Turns a mask that is a closed line around a large hole into the cell that it outlines; cells with small holes "
        "are left alone, and so are lines around other cells."
    ),
    mends=("outline-mask",),
    propose=propose,
    default=True,
    options={"max_fill": MAX_FILL, "min_filled_px": MIN_FILLED_PX},
)
