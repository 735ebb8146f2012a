"""Cells that touch without a background pixel between them."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Finding, Sample
from celltable.checks._shapes import shapes_of
from celltable.plugins.check import Check


def find(sample: Sample) -> Iterator[Finding]:
    """One note for each pair of cells whose pixels are neighbours by an edge, at the cell with the higher id."""
    cells = sample.instances
    for a, b, edges in shapes_of(sample).contacts:
        low, high = sorted((int(cells.ids[a]), int(cells.ids[b])))
        text = f"touches cell {low} along {edges:,} px with no background between"
        yield Finding("touching", text, "note", sample.image.image_id, high, float(edges))


CHECK = Check(
    rule="touching",
    title="Touching cells",
    description=(
        "Two cells side by side without a boundary pixel: they become one when instances are recovered from a binary "
        "mask by connected components. Nothing to mend, but to know. Value: length of the contact, px."
    ),
    find=find,
    severity="note",
)
