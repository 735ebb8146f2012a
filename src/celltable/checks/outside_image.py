"""Masks that do not have the size of their image, and published polygons that extend beyond it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from celltable.cells import Finding, Sample
from celltable.checks._shapes import polygons, shapes_of
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

SLACK_PX = 0.0  # a vertex on the far edge (x = width) is still inside: pixels are squares


def find(sample: Sample, *, slack_px: float = SLACK_PX) -> Iterator[Finding]:
    """Yield one finding per mask that does not fit its image, and per polygon with vertices outside."""
    cells, shapes = sample.instances, shapes_of(sample)
    image_id, (height, width) = sample.image.image_id, sample.image.size
    for i in np.flatnonzero(~shapes.valid).tolist():
        text = f"the run lengths do not describe a mask of {height} × {width}"
        yield Finding("outside-image", text, "error", image_id, int(cells.ids[i]))
    for i, points_xy in polygons(sample):
        beyond = np.maximum(-points_xy, points_xy - (width, height))
        n = int((beyond > slack_px).any(axis=1).sum())
        if n:
            far = float(beyond.max())
            text = f"{n} of {len(points_xy)} polygon vertices are outside the image, by up to {far:.1f} px"
            yield Finding("outside-image", text, "note", image_id, int(cells.ids[i]), far)


def example() -> CheckExample:
    """Return two cells; the polygon of cell 2 extends 3 px beyond the right border."""
    from celltable.geometry import polygon

    inside, beyond = ([[0.0, 0.0, x, 0.0, 1.0, 1.0]] for x in (2.0, 9.0))
    return CheckExample.of(drawn("11..22", polygon=[polygon.pack(inside), polygon.pack(beyond)]), at=[("a", 2)])


CHECK = Check(
    rule="outside-image",
    title="Mask or polygon outside the image",
    description=(
        "A mask of another image size (an error: it does not fit the image), or a published polygon with vertices "
        "outside the image (a note: it is clipped when drawn). Value: distance outside, px."
    ),
    find=find,
    severity="error",
    options=(Option("slack_px", SLACK_PX, "how far a vertex may be outside", low=0, unit="px"),),
    example=example,
)
