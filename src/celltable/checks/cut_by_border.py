"""Cells that are cut by the image border."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.checks._shapes import cut_by_border
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn


def find(sample: Sample) -> Iterator[Finding]:
    """One note for each cell with a pixel in the first or last row or column."""
    cells = sample.instances
    height, width = cells.size
    for i in np.flatnonzero(cut_by_border(sample)).tolist():
        x, y, w, h = cells.bbox[i].tolist()
        sides = [
            name
            for name, hit in (("left", x == 0), ("top", y == 0), ("right", x + w == width), ("bottom", y + h == height))
            if hit
        ]
        text = f"touches the {' and '.join(sides)} border: its area and shape may be those of only a part"
        yield Finding("cut-by-border", text, "note", sample.image.image_id, int(cells.ids[i]), float(len(sides)))


def example() -> CheckExample:
    """Return a cell in the first row and one inside the image."""
    cells = """
        .11...
        .11.2.
        ......
    """
    return CheckExample.of(drawn(cells), at=[("a", 1)])


CHECK = Check(
    rule="cut-by-border",
    title="Cell cut by the border",
    description=(
        "A cell in the first or last row or column is probably incomplete: leave it out of measurements of size and "
        "shape. Value: number of borders that it touches."
    ),
    find=find,
    severity="note",
    example=example,
)
