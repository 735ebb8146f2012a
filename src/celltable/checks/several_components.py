"""Cells made of several separate parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample, Severity
from celltable.checks._shapes import judged, shapes_of
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn


def find(sample: Sample) -> Iterator[Finding]:
    """Yield one finding per cell with several parts; a note if the parts touch at corners."""
    cells, shapes = sample.instances, shapes_of(sample)
    for i in np.flatnonzero((shapes.parts4 > 1) & judged(sample)).tolist():
        by_edge, by_corner = int(shapes.parts4[i]), int(shapes.parts8[i])
        if by_corner > 1:
            text = f"{by_corner} separate parts ({by_edge} if corners do not connect)"
        else:
            text = f"{by_edge} parts that touch only at corners"
        severity: Severity = "warning" if by_corner > 1 else "note"
        yield Finding("several-components", text, severity, sample.image.image_id, int(cells.ids[i]), float(by_edge))


def example() -> CheckExample:
    """Return a cell of two parts and one in one piece."""
    return CheckExample.of(drawn("11.1.22"), at=[("a", 1)])


CHECK = Check(
    rule="several-components",
    title="Several components",
    description=(
        "A cell with several parts: stray pen strokes, two cells in one mask, or a cell cut by another. A warning if "
        "the parts are apart, a note if they touch at corners. Value: number of 4-connected parts."
    ),
    find=find,
    repairs=("keep-largest-component", "split-components"),
    example=example,
)
