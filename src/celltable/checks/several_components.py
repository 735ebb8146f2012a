"""Cells made of several separate parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample, Severity
from celltable.checks._shapes import judged, shapes_of
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn


def find(sample: Sample) -> Iterator[Finding]:
    """One finding for each cell of several parts; a note where the parts touch at corners."""
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
    """A cell of two parts, and one of one."""
    return CheckExample.of(drawn("11.1.22"), at=[("a", 1)])


CHECK = Check(
    rule="several-components",
    title="Several components",
    description=(
        "One cell of several parts: strays of the pen, two cells in one mask, or a cell cut by another. A warning "
        "where the parts are apart, a note where they touch at corners only. Value: parts under 4-connectivity."
    ),
    find=find,
    repairs=("keep-largest-component", "split-components"),
    example=example,
)
