"""Published boxes that do not match their mask."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

SLACK_PX = 2.0  # boxes of polygons have fractions, and releases differ in whether they include the last pixel


def find(sample: Sample, *, slack_px: float = SLACK_PX) -> Iterator[Finding]:
    """Yield one finding per cell whose published box has an edge more than `slack_px` from the mask's."""
    cells = sample.instances
    if cells.published_bbox is None:
        return
    for i, stated in enumerate(cells.column("published_bbox")):
        if stated is None or not cells.area[i]:
            continue
        x, y, w, h = stated
        mask_x, mask_y, mask_w, mask_h = cells.bbox[i].tolist()
        edges = np.array([x, y, x + w, y + h]) - (mask_x, mask_y, mask_x + mask_w, mask_y + mask_h)
        far = float(np.abs(edges).max())
        if far > slack_px:
            box = [round(v, 1) for v in stated]
            text = f"the release states the box {box}, but the mask's is {cells.bbox[i].tolist()}"
            yield Finding("published-box-mismatch", text, "warning", sample.image.image_id, int(cells.ids[i]), far)


def example() -> CheckExample:
    """Return two cells that were both published with the box of cell 1."""
    box = [0.0, 0.0, 2.0, 1.0]
    return CheckExample.of(drawn("11...22", published_bbox=[box, box]), at=[("a", 2)])


CHECK = Check(
    rule="published-box-mismatch",
    title="Published box differs from the mask",
    description=(
        "The published box (x, y, width, height) is not that of the mask: it belongs to another cell, or the mask was "
        "clipped. Value: largest distance between corresponding edges, px."
    ),
    find=find,
    options=(Option("slack_px", SLACK_PX, "allowed distance between corresponding edges", low=0, unit="px"),),
    example=example,
)
