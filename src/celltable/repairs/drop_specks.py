"""Remove masks that are too small to be cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Edit, Sample
from celltable.geometry.shapes import on_border
from celltable.plugins import Option
from celltable.plugins.example import RepairExample, drawn
from celltable.plugins.repair import Repair
from celltable.repairs._edits import remove

MIN_PX = 10  # as in the check speck
MIN_SHARE = 0.02


def propose(sample: Sample, *, min_px: float = MIN_PX, min_share: float = MIN_SHARE) -> Iterator[Edit]:
    """Yield one removal per empty mask and per speck; cells cut by the border are specks only if below `min_px`."""
    cells = sample.instances
    present = cells.area[cells.area > 0]
    usual = float(np.median(present)) if present.size else 0.0
    cut = on_border(cells.bbox, cells.size)
    speck = (cells.area < min_px) | ((cells.area < min_share * usual) & ~cut)
    for i in np.flatnonzero(speck).tolist():
        area = int(cells.area[i])
        rule = "speck" if area else "empty-mask"
        reason = f"only {area} px; the median cell of the image has {usual:,.0f}" if area else "the mask is empty"
        yield remove("drop-specks", rule, sample, i, reason)


def example() -> RepairExample:
    """Return two cells; the one of a single pixel is removed."""
    before = """
        ........
        .1111...
        .1111.2.
        .1111...
        .1111...
        ........
    """
    return RepairExample(drawn(before), drawn(before.replace("2", ".")))


REPAIR = Repair(
    name="drop-specks",
    title="Drop specks",
    description="Removes empty masks and masks of a few pixels.",
    mends=("speck", "empty-mask"),
    propose=propose,
    order=80,
    options=(
        Option("min_px", MIN_PX, "area below which a mask is a speck", type=float, low=0, unit="px²"),
        Option("min_share", MIN_SHARE, "the same, as a share of the image's median cell", low=0, high=1),
    ),
    clears=("empty-mask",),
    example=example,
)
