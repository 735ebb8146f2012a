"""Cells that share pixels."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Finding, Sample
from celltable.checks._shapes import shapes_of
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn


def find(sample: Sample) -> Iterator[Finding]:
    """Yield one finding per pair of cells of the same kind that share pixels, at the cell with the higher id."""
    cells = sample.instances
    for a, b, px in shapes_of(sample).overlaps:
        low, high = sorted((a, b), key=lambda i: int(cells.ids[i]))
        smaller = int(min(cells.area[a], cells.area[b]))
        yield Finding(
            "overlap",
            f"shares {px:,} px with cell {int(cells.ids[low])} ({px / smaller:.0%} of the smaller of the two)",
            "warning",
            sample.image.image_id,
            int(cells.ids[high]),
            float(px),
        )


def example() -> CheckExample:
    """Return three cells; 1 and 3 share a pixel."""
    return CheckExample.of(drawn("111.22", "..333."), at=[("a", 3)])


CHECK = Check(
    rule="overlap",
    title="Overlapping cells",
    description=(
        "Two cells of the same kind that share pixels. A label map cannot hold them: which cell wins depends on the "
        "order. Real in some releases (LIVECell, Kumar), an error in others. Value: shared area, px²."
    ),
    find=find,
    repairs=("resolve-overlaps",),
    example=example,
)
