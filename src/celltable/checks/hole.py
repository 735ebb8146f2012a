"""Cells with holes: background pixels that the cell encloses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.checks._shapes import judged, shapes_of
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

SERIOUS_PX = 10  # fewer pixels hardly change an IoU; DSB2018's trackers list holes from about this size


def find(sample: Sample, *, serious_px: float = SERIOUS_PX) -> Iterator[Finding]:
    """Yield one finding per cell with holes; a note if they have fewer than `serious_px` pixels in total."""
    cells, shapes = sample.instances, shapes_of(sample)
    for i in np.flatnonzero((shapes.hole_area > 0) & judged(sample)).tolist():
        px, n = int(shapes.hole_area[i]), int(shapes.hole_count[i])
        yield Finding(
            "hole",
            f"{n} hole{'s' if n > 1 else ''} of {px:,} px in total, in a mask of {int(cells.area[i]):,} px",
            "warning" if px >= serious_px else "note",
            sample.image.image_id,
            int(cells.ids[i]),
            float(px),
        )


def example() -> CheckExample:
    """Return a ring and a cell without holes."""
    cells = """
        111.222
        1.1.222
        111.222
    """
    return CheckExample.of(drawn(cells), at=[("a", 1)])


CHECK = Check(
    rule="hole",
    title="Hole in a mask",
    description=(
        "Background that a cell encloses on all sides (4-connected). Real nuclei and cells do not have holes; drawing "
        "tools leave them. Value: total area of the cell's holes, px²."
    ),
    find=find,
    options=(
        Option(
            "serious_px",
            SERIOUS_PX,
            "total hole area of a cell from which it is a warning",
            type=float,
            low=0,
            unit="px²",
        ),
    ),
    repairs=("fill-holes",),
    example=example,
)
