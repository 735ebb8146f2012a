"""Give every pixel shared by several cells to one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Edit, Instances, Sample
from celltable.geometry.shapes import Shapes
from celltable.plugins import Option
from celltable.plugins.example import RepairExample, drawn
from celltable.plugins.repair import Repair
from celltable.repairs._edits import remove, replace_mask


def _scores(cells: Instances) -> NDArray[np.float64]:
    return np.asarray([-1.0 if s is None else s for s in cells.column("score")], dtype=np.float64)


# Sort key per cell: the lowest wins; ties go to the lower instance_id.
POLICIES: Final[dict[str, Callable[[Instances], NDArray[np.float64]]]] = {
    "smaller-wins": lambda cells: cells.area.astype(np.float64),
    "larger-wins": lambda cells: -cells.area.astype(np.float64),
    "first-wins": lambda cells: cells.ids.astype(np.float64),
    "last-wins": lambda cells: -cells.ids.astype(np.float64),
    "score-wins": lambda cells: -_scores(cells),
}


def propose(sample: Sample, *, policy: str = "smaller-wins") -> Iterator[Edit]:
    """Yield one edit per cell that loses pixels; remove cells that lose all of them."""
    cells = sample.instances
    shapes = Shapes.of(cells)
    key = POLICIES[policy](cells)
    winners: dict[int, list[int]] = {}
    for a, b, _ in shapes.overlaps:
        low, high = sorted((a, b), key=lambda i: (float(key[i]), int(cells.ids[i])))
        winners.setdefault(high, []).append(low)
    for i in sorted(winners):
        mask, area = shapes.without(i, winners[i])
        lost = int(cells.area[i]) - area
        if area == 0:
            yield remove("resolve-overlaps", "overlap", sample, i, f"lost all its pixels to other cells ({policy})")
        else:
            n = len(winners[i])
            reason = f"gave {lost:,} px to {n} overlapping cell{'s' if n > 1 else ''} ({policy})"
            yield replace_mask("resolve-overlaps", "overlap", sample, i, mask, reason)


def example() -> RepairExample:
    """Return two cells; the smaller one keeps the shared pixel."""
    return RepairExample(drawn("11111..", "....22."), drawn("1111...", "....22."))


REPAIR = Repair(
    name="resolve-overlaps",
    title="Resolve overlaps",
    description=(
        "Gives each pixel shared by several cells of the same kind to one of them, by a named policy: smaller-wins "
        "(default), larger-wins, first-wins, last-wins (by instance id) or score-wins. Covered pixels stay covered."
    ),
    mends=("overlap",),
    propose=propose,
    order=70,
    options=(Option("policy", "smaller-wins", "which cell keeps a shared pixel", choices=tuple(POLICIES)),),
    clears=("overlap",),
    example=example,
)
