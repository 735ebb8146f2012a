"""Keep the largest part of a cell and drop the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.errors import CelltableError
from celltable.geometry.shapes import Shapes
from celltable.records import Edit, Sample
from celltable.repairs import Repair
from celltable.repairs._edits import flags, replace_mask


def propose(sample: Sample, *, connectivity: float = 4) -> Iterator[Edit]:
    """One edit for each cell of several parts, under 4- or 8-connectivity; of equal parts the first stays."""
    if connectivity not in (4, 8):
        raise CelltableError(f"connectivity is {connectivity}; expected 4 (joined by edges) or 8 (also by corners).")
    cells = sample.instances
    shapes = Shapes.of(cells)
    count = shapes.parts4 if connectivity == 4 else shapes.parts8
    chosen = np.flatnonzero((count > 1) & ~flags(cells, "crowd"))
    for i, parts in zip(chosen.tolist(), shapes.components(chosen, int(connectivity)), strict=True):
        largest = max(parts, key=lambda part: part.area)
        reason = f"kept the largest of {len(parts)} parts: {largest.area:,} of {int(cells.area[i]):,} px"
        yield replace_mask("keep-largest-component", "several-components", sample, i, largest.mask, reason)


REPAIR = Repair(
    name="keep-largest-component",
    title="Keep the largest part",
    description=(
        "Where a cell has several parts, keeps the largest and drops the rest: right for strays of the pen, wrong "
        "where one mask holds two cells (see split-components)."
    ),
    mends=("several-components",),
    propose=propose,
    options={"connectivity": 4},
)
