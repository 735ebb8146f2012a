"""Fill the holes of cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Edit, Sample
from celltable.geometry.shapes import Shapes
from celltable.plugins.example import RepairExample, drawn
from celltable.plugins.repair import Repair
from celltable.repairs._edits import flags, replace_mask


def propose(sample: Sample) -> Iterator[Edit]:
    """Yield one edit per cell with holes that do not contain another cell of the same kind."""
    cells = sample.instances
    shapes = Shapes.of(cells)
    chosen = np.flatnonzero((shapes.hole_area > 0) & ~flags(cells, "crowd"))
    for i, mask in zip(chosen.tolist(), shapes.filled(chosen), strict=True):
        if not shapes.taken(i, mask):
            n, px = int(shapes.hole_count[i]), int(shapes.hole_area[i])
            reason = f"filled {n} hole{'s' if n > 1 else ''} of {px:,} px in total"
            yield replace_mask("fill-holes", "hole", sample, i, mask, reason)


def example() -> RepairExample:
    """Return three cells; the hole of 1 is filled, that of 2 contains 3 and is kept."""
    before = """
        111.22222
        1.1.2...2
        111.2.3.2
        ....2...2
        ....22222
    """
    return RepairExample(drawn(before), drawn(before.replace("1.1", "111")))


REPAIR = Repair(
    name="fill-holes",
    title="Fill holes",
    description=(
        "Adds the background that a cell encloses to the cell. A hole that contains another cell is left open, because "
        "filling it would make the two overlap."
    ),
    mends=("hole", "outline-mask"),
    propose=propose,
    order=30,
    default=True,
    example=example,
)
