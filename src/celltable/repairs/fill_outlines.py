"""Fill masks that are only the outline of a cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Edit, Sample
from celltable.geometry.shapes import Shapes
from celltable.plugins import Option
from celltable.plugins.example import RepairExample, drawn
from celltable.plugins.repair import Repair
from celltable.repairs._edits import flags, remove, replace_mask

MAX_FILL = 0.6  # as in the check outline-mask
MIN_FILLED_PX = 30
MIN_CORE = 0.9  # of the hole: some DSB2018 nuclei are annotated as a ring and a core that fills it exactly


def propose(
    sample: Sample,
    *,
    max_fill: float = MAX_FILL,
    min_filled_px: float = MIN_FILLED_PX,
    min_core: float = MIN_CORE,
) -> Iterator[Edit]:
    """Yield one edit per cell whose mask covers less than `max_fill` of the area it encloses.

    If one other cell is entirely inside the outline and fills at least `min_core` of its hole, the two are the rim and
    the core of one cell: the outline is filled and the core is removed.
    """
    cells = sample.instances
    shapes = Shapes.of(cells)
    enclosed = cells.area + shapes.hole_area
    outline = (cells.area < max_fill * enclosed) & (enclosed >= min_filled_px) & ~flags(cells, "crowd")
    chosen = np.flatnonzero(outline)
    for i, mask in zip(chosen.tolist(), shapes.filled(chosen), strict=True):
        reason = f"filled the outline: {int(cells.area[i]):,} of {int(enclosed[i]):,} px were drawn"
        inside = shapes.taken(i, mask)
        if not inside:
            yield replace_mask("fill-outlines", "outline-mask", sample, i, mask, reason)
        elif len(inside) == 1 and _is_core(shapes, i, inside[0], min_core):
            core = inside[0][0]
            note = f"{reason}, and cell {int(cells.ids[core])} was its core"
            yield replace_mask("fill-outlines", "outline-mask", sample, i, mask, note)
            why = f"it is the core of cell {int(cells.ids[i])}, which now covers it"
            yield remove("fill-outlines", "outline-mask", sample, core, why)


def _is_core(shapes: Shapes, i: int, inside: tuple[int, int], min_core: float) -> bool:
    core, px = inside
    return px == int(shapes.areas[core]) and px >= min_core * int(shapes.hole_area[i])


def example() -> RepairExample:
    """Return a line around a large hole, which is filled."""
    line = """
        11111111
        1......1
        1......1
        1......1
        1......1
        11111111
    """
    return RepairExample(drawn(line), drawn(line.replace(".", "1")))


REPAIR = Repair(
    name="fill-outlines",
    title="Fill outlines",
    description=(
        "Turns a mask that is a closed line around a large hole into the cell that it outlines. Cells with small holes "
        "are left alone, and so are lines around other cells, unless a single cell fills the line as its core: then "
        "the two become one."
    ),
    mends=("outline-mask",),
    propose=propose,
    order=20,
    default=True,
    options=(
        Option("max_fill", MAX_FILL, "share of its enclosed area below which a mask is an outline", low=0, high=1),
        Option("min_filled_px", MIN_FILLED_PX, "smallest enclosed area of an outline", type=float, low=1, unit="px²"),
        Option("min_core", MIN_CORE, "share of the hole from which a cell in it is its core", low=0, high=1),
    ),
    example=example,
)
