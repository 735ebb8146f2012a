"""Nuclei whose parent cell does not exist or is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Finding, Sample
from celltable.checks._shapes import shapes_of
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

MIN_INSIDE = 0.5  # of the nucleus: an annotated nucleus may extend slightly beyond its cell


def find(sample: Sample, *, min_inside: float = MIN_INSIDE) -> Iterator[Finding]:
    """Yield one finding per cell whose parent is missing or does not cover it."""
    cells = sample.instances
    if cells.parent is None:
        return
    position = {int(n): i for i, n in enumerate(cells.ids)}
    shared = {(a, b): px for a, b, px in shapes_of(sample).all_overlaps}
    for i, parent in enumerate(cells.column("parent")):
        if parent is None or not cells.area[i]:
            continue
        own = int(cells.ids[i])
        if parent not in position:
            text = f"its parent {parent} is not in the image"
            yield Finding("parent-mismatch", text, "error", sample.image.image_id, own, 1.0)
            continue
        j = position[parent]
        inside = shared.get((min(i, j), max(i, j)), 0) / float(cells.area[i])
        if inside < min_inside:
            text = f"only {inside:.0%} of it is inside its parent {parent}"
            yield Finding("parent-mismatch", text, "warning", sample.image.image_id, own, 1 - inside)


def example() -> CheckExample:
    """Return a cell with nucleus 2 inside it and nucleus 3 outside."""
    kinds, parents = ["cell", "nucleus", "nucleus"], [None, 1, 1]
    return CheckExample.of(drawn("1111..", ".22.33", kind=kinds, parent=parents), at=[("a", 3)])


CHECK = Check(
    rule="parent-mismatch",
    title="Nucleus without its cell",
    description=(
        "The parent of a nucleus does not exist or does not cover it. Value: share of the nucleus outside its parent "
        "(0 to 1)."
    ),
    find=find,
    options=(Option("min_inside", MIN_INSIDE, "smallest share of a nucleus inside its cell", low=0, high=1),),
    example=example,
)
