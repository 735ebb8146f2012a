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
    """Yield one edit for each cell with a hole that holds no other cell of its kind."""
    cells = sample.instances
    shapes = Shapes.of(cells)
    chosen = np.flatnonzero((shapes.hole_area > 0) & ~flags(cells, "crowd"))
    for i, mask in zip(chosen.tolist(), shapes.filled(chosen), strict=True):
        if not shapes.taken(i, mask):
            n, px = int(shapes.hole_count[i]), int(shapes.hole_area[i])
            reason = f"filled {n} hole{'s' if n > 1 else ''} of {px:,} px in all"
            yield replace_mask("fill-holes", "hole", sample, i, mask, reason)


def example() -> RepairExample:
    """The hole of cell 1 is filled; that of cell 2 holds cell 3 and stays."""
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
        "Adds the background that a cell encloses to the cell. A hole that contains another cell is left open: "
        "filling it would make both overlap."
    ),
    mends=("hole", "outline-mask"),
    propose=propose,
    order=30,
    default=True,
    example=example,
)
