"""Masks that probably contain several cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.checks._shapes import judged, shapes_of
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, discs, painted

MIN_CELLS = 5  # fewer cells do not define a usual size
MIN_RATIO = 1.8  # two cells in one mask have about twice the usual area
MAX_SOLIDITY = 0.88  # single nuclei of DSB2018: median 0.96, 5th percentile 0.89


def find(
    sample: Sample,
    *,
    min_cells: int = MIN_CELLS,
    min_ratio: float = MIN_RATIO,
    max_solidity: float = MAX_SOLIDITY,
) -> Iterator[Finding]:
    """Yield one finding per cell that is both much larger and much less convex than others in its image."""
    cells, shapes = sample.instances, shapes_of(sample)
    counted = (cells.area > 0) & judged(sample)
    if counted.sum() < min_cells:
        return
    usual = float(np.median(cells.area[counted]))
    ratio = cells.area / usual
    large = np.flatnonzero(counted & (ratio >= min_ratio))
    solidity = shapes.solidity(large)
    for i, solid in zip(large.tolist(), solidity.tolist(), strict=True):
        if solid < max_solidity:
            yield Finding(
                "probable-merge",
                f"{ratio[i]:.1f} times the median area of its image and solidity {solid:.2f}: probably several cells",
                "warning",
                sample.image.image_id,
                int(cells.ids[i]),
                float(ratio[i]),
            )


def example() -> CheckExample:
    """Return five round cells, and a mask that contains two more."""
    size = (40, 60)
    cells = discs(*((8, 8 + 11 * k, 4.5) for k in range(5)), size=size)
    merged = np.logical_or(*discs((28, 14, 6), (28, 26, 6), size=size))
    return CheckExample.of(painted([*cells, merged], size), at=[("a", 6)])


CHECK = Check(
    rule="probable-merge",
    title="Probably several cells in one mask",
    description=(
        "An outlier in its image in both size and solidity (share of its convex hull that a mask fills). "
        "Value: area relative to the median area of the image's cells."
    ),
    find=find,
    options=(
        Option("min_cells", MIN_CELLS, "number of cells in an image from which its median area is used", low=1),
        Option("min_ratio", MIN_RATIO, "area relative to the median from which a cell is large", low=1),
        Option("max_solidity", MAX_SOLIDITY, "solidity below which a cell is not convex", low=0, high=1),
    ),
    repairs=("split-merges",),
    example=example,
)
