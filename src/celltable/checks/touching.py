"""Cells that touch without a background pixel between them."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Finding, Sample
from celltable.checks._shapes import shapes_of
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn


def find(sample: Sample) -> Iterator[Finding]:
    """Yield one note per pair of cells with 4-connected pixels, at the cell with the higher id."""
    cells = sample.instances
    for a, b, edges in shapes_of(sample).contacts:
        low, high = sorted((int(cells.ids[a]), int(cells.ids[b])))
        text = f"touches cell {low} along {edges:,} px, with no background between them"
        yield Finding("touching", text, "note", sample.image.image_id, high, float(edges))


def example() -> CheckExample:
    """Return three cells; 1 and 2 touch, 3 is apart."""
    return CheckExample.of(drawn("1122.3"), at=[("a", 2)])


CHECK = Check(
    rule="touching",
    title="Touching cells",
    description=(
        "Two cells side by side without a boundary pixel between them: they become one if instances are recovered from "
        "a binary mask by connected components. Worth knowing, not a defect. Value: length of the contact, px."
    ),
    find=find,
    severity="note",
    example=example,
)
