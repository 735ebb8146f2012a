"""Keep the largest part of a cell and drop the others."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Edit, Sample
from celltable.plugins import Option
from celltable.plugins.example import RepairExample, drawn
from celltable.plugins.repair import Repair
from celltable.repairs._edits import replace_mask, several_parts


def propose(sample: Sample, *, connectivity: int = 4) -> Iterator[Edit]:
    """Yield one edit per cell with several parts; of equal parts, keep the first."""
    cells = sample.instances
    for i, parts in several_parts(cells, connectivity):
        largest = max(parts, key=lambda part: part.area)
        reason = f"kept the largest of {len(parts)} parts: {largest.area:,} of {int(cells.area[i]):,} px"
        yield replace_mask("keep-largest-component", "several-components", sample, i, largest.mask, reason)


def example() -> RepairExample:
    """Return a cell whose stray pixel is removed."""
    return RepairExample(drawn("111.1.22"), drawn("111...22"))


REPAIR = Repair(
    name="keep-largest-component",
    title="Keep the largest part",
    description=(
        "If a cell has several parts, keeps the largest and drops the others: right for stray pen strokes, wrong if "
        "one mask contains two cells (see split-components)."
    ),
    mends=("several-components",),
    propose=propose,
    order=40,
    options=(Option("connectivity", 4, "whether pixels connect by edges (4) or also by corners (8)", choices=(4, 8)),),
    clears=("several-components",),
    example=example,
)
