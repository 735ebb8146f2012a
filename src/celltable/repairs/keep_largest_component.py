"""Keep the largest part of a cell and drop the others."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Edit, Sample
from celltable.plugins import Option
from celltable.plugins.example import RepairExample, drawn
from celltable.plugins.repair import Repair
from celltable.repairs._edits import replace_mask, several_parts


def propose(sample: Sample, *, connectivity: int = 4) -> Iterator[Edit]:
    """One edit for each cell of several parts, under 4- or 8-connectivity; of equal parts the first stays."""
    cells = sample.instances
    for i, parts in several_parts(cells, connectivity):
        largest = max(parts, key=lambda part: part.area)
        reason = f"kept the largest of {len(parts)} parts: {largest.area:,} of {int(cells.area[i]):,} px"
        yield replace_mask("keep-largest-component", "several-components", sample, i, largest.mask, reason)


def example() -> RepairExample:
    """A stray pixel goes."""
    return RepairExample(drawn("111.1.22"), drawn("111...22"))


REPAIR = Repair(
    name="keep-largest-component",
    title="Keep the largest part",
    description=(
        "Where a cell has several parts, keeps the largest and drops the rest: right for strays of the pen, wrong "
        "where one mask holds two cells (see split-components)."
    ),
    mends=("several-components",),
    propose=propose,
    order=40,
    options=(Option("connectivity", 4, "neighbours that join pixels: by edges, or by corners too", choices=(4, 8)),),
    clears=("several-components",),
    example=example,
)
