"""Make the edits of repairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Edit, Instances, Sample
from celltable.geometry.masks import Masks
from celltable.geometry.shapes import Part, Shapes


def one(cells: Instances, i: int) -> Instances:
    """Return only the cell at position `i`."""
    return cells.take([i])


def redrawn(cells: Instances, i: int, mask: bytes, new_id: int | None = None) -> Instances:
    """Return the cell at position `i` with another mask and without its published polygon, which no longer fits."""
    cell = one(cells, i).with_masks(Masks.of([mask], cells.size)).with_columns(polygon=None)
    return cell if new_id is None else cell.with_columns(instance_id=np.asarray([new_id], dtype=np.int32))


def replace_mask(repair: str, rule: str, sample: Sample, i: int, mask: bytes, reason: str) -> Edit:
    """Make an edit that gives the cell at position `i` another mask; its value is the change in area, px²."""
    cells = sample.instances
    after = redrawn(cells, i, mask)
    changed = float(abs(int(after.area[0]) - int(cells.area[i])))
    own = int(cells.ids[i])
    return Edit(repair, sample.image.image_id, own, reason, one(cells, i), after, rule, changed)


def remove(repair: str, rule: str, sample: Sample, i: int, reason: str) -> Edit:
    """Make an edit that removes the cell at position `i`; its value is the area lost, px²."""
    cells, own = sample.instances, int(sample.instances.ids[i])
    return Edit(repair, sample.image.image_id, own, reason, one(cells, i), None, rule, float(cells.area[i]))


def split(
    repair: str, rule: str, sample: Sample, i: int, masks: Sequence[bytes], first_id: int, why: str
) -> list[Edit]:
    """Remove the cell at position `i` and add one cell per mask, numbered from `first_id`."""
    cells, own = sample.instances, int(sample.instances.ids[i])
    edits = [remove(repair, rule, sample, i, f"{why}: {len(masks)} cells take its place")]
    for k, mask in enumerate(masks):
        after = redrawn(cells, i, mask, first_id + k)
        reason = f"part {k + 1} of {len(masks)} of cell {own}"
        area = float(after.area[0])
        edits.append(Edit(repair, sample.image.image_id, first_id + k, reason, None, after, rule, area))
    return edits


def next_id(cells: Instances) -> int:
    """Return the first instance_id above those of the image's cells."""
    return int(cells.ids.max(initial=0)) + 1


def flags(cells: Instances, name: str) -> NDArray[np.bool_]:
    """Return a boolean column with one value per cell."""
    return np.asarray(cells.column(name), dtype=bool).reshape(len(cells))


def several_parts(cells: Instances, connectivity: int) -> Iterator[tuple[int, list[Part]]]:
    """Yield the position and the parts of each cell with several parts (4- or 8-connected), without crowds."""
    shapes = Shapes.of(cells)
    count = shapes.parts4 if connectivity == 4 else shapes.parts8
    chosen = np.flatnonzero((count > 1) & ~flags(cells, "crowd"))
    return zip(chosen.tolist(), shapes.components(chosen, connectivity), strict=True)
