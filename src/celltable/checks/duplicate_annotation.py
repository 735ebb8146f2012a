"""Cells that are annotated twice."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Finding, Sample
from celltable.checks._shapes import shapes_of
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

MIN_IOU = 0.6  # two annotators of one nucleus agree on about 0.7-0.9; neighbours that overlap stay below 0.5


def find(sample: Sample, *, min_iou: float = MIN_IOU) -> Iterator[Finding]:
    """Yield one finding per cell that repeats another one of the same kind, at the cell with the higher id."""
    cells = sample.instances
    best: dict[int, tuple[float, int]] = {}
    for a, b, px in shapes_of(sample).overlaps:
        iou = px / float(cells.area[a] + cells.area[b] - px)
        if iou >= min_iou:
            low, high = sorted((int(cells.ids[a]), int(cells.ids[b])))
            best[high] = max(best.get(high, (0.0, 0)), (iou, -low))
    for high, (iou, low) in sorted(best.items()):
        text = f"repeats cell {-low}: intersection over union {iou:.2f}"
        yield Finding("duplicate-annotation", text, "error", sample.image.image_id, high, iou)


def example() -> CheckExample:
    """Return three cells; 1 and 3 differ in one of ten pixels."""
    once = """
        11111.22
        11111.22
    """
    again = """
        33333...
        3333....
    """
    return CheckExample.of(drawn(once, again), at=[("a", 3)])


CHECK = Check(
    rule="duplicate-annotation",
    title="Cell annotated twice",
    description=(
        "Two masks of the same kind that cover nearly the same pixels. A detector trained on them is penalised for "
        "being right. Value: intersection over union (0 to 1)."
    ),
    find=find,
    severity="error",
    options=(Option("min_iou", MIN_IOU, "lowest IoU at which two masks are the same cell", above=0, high=1),),
    repairs=("drop-duplicates",),
    example=example,
)
