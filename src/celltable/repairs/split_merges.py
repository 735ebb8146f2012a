"""Split masks that probably contain several cells, by a watershed on the distance to their outline."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Edit, Sample
from celltable.geometry.shapes import Shapes
from celltable.plugins import Option
from celltable.plugins.example import RepairExample, discs, painted
from celltable.plugins.repair import Repair
from celltable.repairs._edits import flags, next_id, split

MIN_CELLS, MIN_RATIO, MAX_SOLIDITY = 5, 1.8, 0.88  # as in the check probable-merge
DEPTH = 0.15  # of the largest distance: a shallower saddle is a bump in the outline
MIN_SHARE = 0.25  # of the image's median cell: a smaller part is not a cell, and the mask stays whole


def propose(
    sample: Sample,
    *,
    min_cells: int = MIN_CELLS,
    min_ratio: float = MIN_RATIO,
    max_solidity: float = MAX_SOLIDITY,
    depth: float = DEPTH,
    min_share: float = MIN_SHARE,
) -> Iterator[Edit]:
    """Replace each probable merge that divides into cell-sized parts by its parts."""
    cells = sample.instances
    counted = (cells.area > 0) & ~flags(cells, "crowd")
    if counted.sum() < min_cells:
        return
    usual = float(np.median(cells.area[counted]))
    large = np.flatnonzero(counted & (cells.area >= min_ratio * usual))
    shapes = Shapes.of(cells)
    solid = shapes.solidity(large)
    new = next_id(cells)
    for i in large[solid < max_solidity].tolist():
        labels = divided(shapes.crop(i), depth)
        areas = np.bincount(labels.ravel())[1:]
        if len(areas) < 2 or areas.min() < min_share * usual:
            continue
        masks = [shapes.placed(labels == k, i) for k in range(1, len(areas) + 1)]
        why = f"{cells.area[i] / usual:.1f} times the median area and not convex"
        yield from split("split-merges", "probable-merge", sample, i, masks, new, why)
        new += len(masks)


def divided(mask: NDArray[np.bool_], depth: float = DEPTH) -> NDArray[np.int32]:
    """Return the label map of a mask's parts (0 outside): watershed from the maxima of its smoothed distance map.

    >>> two = np.zeros((9, 19), bool); two[1:8, 1:8] = two[1:8, 11:18] = True; two[4, 8:11] = True
    >>> int(divided(two).max())
    2
    """
    from scipy import ndimage
    from skimage import morphology, segmentation

    padded = np.pad(mask, 1)
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(padded), 0.7) * padded
    deep = max(depth * float(distance.max()), 0.5)
    tops = morphology.h_maxima(distance, deep)  # type: ignore[no-untyped-call,unused-ignore]
    markers, _ = ndimage.label(tops, np.ones((3, 3)))
    labels = segmentation.watershed(-distance, markers, mask=padded)  # type: ignore[no-untyped-call,unused-ignore]
    return np.asarray(labels[1:-1, 1:-1], dtype=np.int32)


def example() -> RepairExample:
    """Return five cells and a mask of two, which is cut at its waist."""
    size = (40, 60)
    cells = discs(*((8, 8 + 11 * k, 4.5) for k in range(5)), size=size)
    merged = np.logical_or(*discs((28, 14, 6), (28, 24, 6), size=size))
    left = merged & (np.arange(size[1]) < 20)
    ids = np.asarray([1, 2, 3, 4, 5, 7, 8], np.int32)
    after = painted([*cells, left, merged & ~left], size, instance_id=ids)
    return RepairExample(painted([*cells, merged], size), after)


REPAIR = Repair(
    name="split-merges",
    title="Split merged cells",
    description=(
        "Cuts masks that are outliers in size and solidity at their waists, by a watershed on the distance transform. "
        "A mask stays whole if a part would be much smaller than the usual cell of its image."
    ),
    mends=("probable-merge",),
    propose=propose,
    order=60,
    options=(
        Option("min_cells", MIN_CELLS, "number of cells in an image from which its median area is used", low=1),
        Option("min_ratio", MIN_RATIO, "area relative to the median from which a cell is large", low=1),
        Option("max_solidity", MAX_SOLIDITY, "solidity below which a cell is not convex", low=0, high=1),
        Option(
            "depth", DEPTH, "smallest depth of a dividing saddle, as a share of the largest distance", low=0, high=1
        ),
        Option("min_share", MIN_SHARE, "smallest area of a part, as a share of the median cell", low=0),
    ),
    example=example,
)
