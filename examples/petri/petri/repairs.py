"""A repair: remove the corners of square cells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Edit, Instances, Sample
from celltable.plugins import Option
from celltable.plugins.example import RepairExample, drawn
from celltable.plugins.repair import Repair


def propose(sample: Sample, *, min_px: float = 9) -> Iterator[Edit]:
    """Yield one edit per mask of at least `min_px` that fills its bounding box."""
    cells = sample.instances
    for i, mask in enumerate(cells.masks()):
        x, y, width, height = cells.bbox[i].tolist()
        if cells.area[i] < max(min_px, 1) or cells.area[i] < width * height or min(width, height) < 2:
            continue
        rounded = mask.copy()
        rounded[np.ix_([y, y + height - 1], [x, x + width - 1])] = False
        if not rounded.any():
            continue
        before = cells.take([i])
        after = before.with_masks(Instances.from_masks([rounded], cells.size).rle).with_columns(polygon=None)
        own = int(cells.ids[i])
        reason = f"removed the corners of a mask of {width} × {height} px"
        yield Edit("round-corners", sample.image.image_id, own, reason, before, after, "square-cell", 4.0)


def example() -> RepairExample:
    """Return a square that loses its corners and a cross that stays."""
    before = """
        111..2.
        111.222
        111..2.
    """
    after = """
        .1...2.
        111.222
        .1...2.
    """
    ids = np.asarray([1, 2], np.int32)
    return RepairExample(drawn(before, instance_id=ids), drawn(after, instance_id=ids))


REPAIR = Repair(
    name="round-corners",
    title="Round the corners",
    description="Removes the corner pixels of masks that are their own box.",
    mends=("square-cell",),
    propose=propose,
    options=(Option("min_px", 9, "area from which a square is rounded", type=float, low=1, unit="px²"),),
    example=example,
)
