"""Masks that are too small to be cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.checks._shapes import cut_by_border
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

MIN_PX = 10  # TNBC's stray masks have 1-9 px, DSB2018's smallest nucleus has 21
MIN_SHARE = 0.02  # of the image's median cell, for images of large cells


def find(sample: Sample, *, min_px: float = MIN_PX, min_share: float = MIN_SHARE) -> Iterator[Finding]:
    """Yield one finding per speck; what remains of a cell cut by the border is one only if below `min_px`."""
    cells = sample.instances
    present = cells.area[cells.area > 0]
    if present.size == 0:
        return
    usual = float(np.median(present))
    small = (cells.area < min_px) | ((cells.area < min_share * usual) & ~cut_by_border(sample))
    for i in np.flatnonzero(small & (cells.area > 0)).tolist():
        text = f"only {int(cells.area[i])} px; the median cell of the image has {usual:,.0f}"
        yield Finding("speck", text, "warning", sample.image.image_id, int(cells.ids[i]), float(cells.area[i]))


def example() -> CheckExample:
    """Return cells of 16, 1, 9 and 10 px; the last is just large enough."""
    cells = """
        ................
        .1111......222..
        .1111.3.44.222..
        .1111...44.222..
        .1111...44.2....
        ........44......
        ........4.......
    """
    return CheckExample.of(drawn(cells), at=[("a", 3), ("a", 4)])


CHECK = Check(
    rule="speck",
    title="Speck",
    description="A mask of a few pixels: a slip of the pen or debris of a threshold. Value: area, px².",
    find=find,
    options=(
        Option("min_px", MIN_PX, "area below which a mask is a speck", type=float, low=0, unit="px²"),
        Option("min_share", MIN_SHARE, "the same, as a share of the image's median cell", low=0, high=1),
    ),
    repairs=("drop-specks",),
    example=example,
)
