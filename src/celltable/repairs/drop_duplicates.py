"""Remove annotations that repeat another one."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Edit, Sample
from celltable.geometry.shapes import Shapes
from celltable.plugins import Option
from celltable.plugins.example import RepairExample, drawn
from celltable.plugins.repair import Repair
from celltable.repairs._edits import remove

MIN_IOU = 0.6  # as in the check duplicate-annotation


def propose(sample: Sample, *, min_iou: float = MIN_IOU) -> Iterator[Edit]:
    """Yield one removal per cell that repeats a cell with a lower id that is kept."""
    cells = sample.instances
    twins: dict[int, list[tuple[int, float]]] = {}
    for a, b, px in Shapes.of(cells).overlaps:
        iou = px / float(cells.area[a] + cells.area[b] - px)
        if iou >= min_iou:
            low, high = sorted((a, b), key=lambda i: int(cells.ids[i]))
            twins.setdefault(high, []).append((low, iou))
    gone: set[int] = set()
    for i in sorted(twins, key=lambda i: int(cells.ids[i])):
        staying = [(iou, low) for low, iou in twins[i] if low not in gone]
        if staying:
            iou, low = max(staying)
            gone.add(i)
            reason = f"repeats cell {int(cells.ids[low])}: intersection over union {iou:.2f}"
            yield remove("drop-duplicates", "duplicate-annotation", sample, i, reason)


def example() -> RepairExample:
    """Return three cells; 3 repeats 1 and is removed."""
    cells = """
        11111.22
        11111.22
    """
    again = """
        33333...
        3333....
    """
    return RepairExample(drawn(cells, again), drawn(cells))


REPAIR = Repair(
    name="drop-duplicates",
    title="Drop repeated annotations",
    description="If a cell is annotated several times, keeps the first annotation and removes the later ones.",
    mends=("duplicate-annotation",),
    propose=propose,
    order=10,
    options=(Option("min_iou", MIN_IOU, "lowest IoU at which two masks are the same cell", above=0, high=1),),
    clears=("duplicate-annotation",),
    example=example,
)
