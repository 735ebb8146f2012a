"""Published areas that do not match their mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

# A polygon's area and its pixel count differ by up to half a pixel along the outline: half the box's perimeter.
MIN_SHARE = 0.1


def find(sample: Sample, *, min_share: float = MIN_SHARE) -> Iterator[Finding]:
    """Yield one finding per cell whose published area is off by more than the outline explains."""
    cells = sample.instances
    if cells.published_area is None:
        return
    stated = np.asarray([np.nan if v is None else v for v in cells.column("published_area")], dtype=np.float64)
    apart = np.abs(stated - cells.area)
    outline = cells.bbox[:, 2:].sum(axis=1).astype(np.float64)
    wrong = (apart > outline) & (apart > min_share * np.maximum(stated, cells.area))
    for i in np.flatnonzero(wrong).tolist():
        text = f"the release states an area of {stated[i]:,.1f} px, but the mask has {int(cells.area[i]):,}"
        yield Finding(
            "published-area-mismatch", text, "warning", sample.image.image_id, int(cells.ids[i]), float(apart[i])
        )


def example() -> CheckExample:
    """Return two cells of 9 px, published as 9 and 30 px."""
    cells = """
        111.222
        111.222
        111.222
    """
    return CheckExample.of(drawn(cells, published_area=[9.0, 30.0]), at=[("a", 2)])


CHECK = Check(
    rule="published-area-mismatch",
    title="Published area differs from the mask",
    description=(
        "The published area differs from the mask's by more than rasterisation of the outline explains. The size "
        "classes of COCO metrics use the published area. Value: difference, px²."
    ),
    find=find,
    options=(Option("min_share", MIN_SHARE, "smallest difference, as a share of the larger area", low=0, high=1),),
    example=example,
)
