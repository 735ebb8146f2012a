"""Objects that look like the annotated cells but are not covered by a mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Sample
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, discs, painted

Float = NDArray[np.float32]

MIN_CELLS = 3  # fewer do not show what a cell looks like in this image
MIN_APART = 0.8  # contrast of cells and background: difference of medians over the sum of standard deviations
MIN_SHARE = 0.4  # of the median cell's area
MIN_COMPACT = 0.5  # share of its box that a blob fills (a disc: 0.79, a halo around a cell: less)
NAMED = 3  # places named in the message


class Look(NamedTuple):
    """How cells and background differ: the plane, the level between them, 1 if cells are brighter, and the contrast."""

    plane: Float
    level: float
    sign: float
    apart: float


def find(
    sample: Sample,
    *,
    min_cells: int = MIN_CELLS,
    min_apart: float = MIN_APART,
    min_share: float = MIN_SHARE,
    min_compact: float = MIN_COMPACT,
) -> Iterator[Finding]:
    """Yield a finding if blobs outside all masks are as bright (or dark) and as large as the image's cells."""
    from scipy import ndimage

    image, cells = sample.image, sample.instances
    if not image.annotated or not image.exhaustive or image.ignore or (cells.area > 0).sum() < min_cells:
        return
    covered = cells.label_map().label_map > 0
    if covered.all():
        return
    near = ndimage.maximum_filter(covered, 5)
    look = _look(sample.pixels(), covered, near)
    if look is None or look.apart < min_apart:
        return
    similar = (look.sign * look.plane > look.sign * look.level) & ~near
    least = min_share * float(np.median(cells.area[cells.area > 0]))
    blobs = _blobs(similar, max(least, 20.0), min_compact)
    if blobs:
        places = ", ".join(f"({x}, {y})" for _, x, y in blobs[:NAMED])
        more = ", …" if len(blobs) > NAMED else ""
        shade = "bright" if look.sign > 0 else "dark"
        text = (
            f"{len(blobs)} {shade} object{'s' if len(blobs) > 1 else ''} like the annotated cells that no mask covers, "
            f"around x, y = {places}{more}"
        )
        yield Finding("probable-missed", text, "warning", image.image_id, None, float(len(blobs)))


def _look(pixels: NDArray[Any], covered: NDArray[np.bool_], near: NDArray[np.bool_]) -> Look | None:
    """Return the channel with the highest contrast; None if pixels and masks do not have the same size."""
    from scipy import ndimage

    if pixels.shape[:2] != covered.shape:
        return None
    planes = pixels[..., None] if pixels.ndim == 2 else pixels[..., :3] if pixels.shape[2] == 4 else pixels
    few = planes[::8, ::8]
    grey = planes.shape[2] == 3 and np.array_equal(few[..., 0], few[..., 2])
    best: Look | None = None
    for c in range(1 if grey else planes.shape[2]):
        plane = ndimage.uniform_filter(planes[..., c].astype(np.float32), 3)
        inside, outside = plane[covered], plane[~near]
        if outside.size == 0:
            return None
        thin = max(1, outside.size // 50_000)  # enough for a median
        cell, ground = float(np.median(inside)), float(np.median(outside[::thin]))
        apart = abs(cell - ground) / (float(inside.std()) + float(outside[::thin].std()) + 1e-9)
        if best is None or apart > best.apart:
            best = Look(plane, (cell + ground) / 2, 1.0 if cell > ground else -1.0, apart)
    return best


def _blobs(similar: NDArray[np.bool_], least: float, min_compact: float) -> list[tuple[int, int, int]]:
    """Return (area, x, y of the centre) of the large, compact components, largest first."""
    from scipy import ndimage

    rough, n = ndimage.label(similar)
    large = np.bincount(rough.ravel(), minlength=n + 1) >= least
    large[0] = False
    if not large.any():
        return []
    parts, n = ndimage.label(ndimage.binary_opening(large[rough], iterations=2))
    areas = np.bincount(parts.ravel(), minlength=n + 1)
    blobs = []
    for i, box in enumerate(ndimage.find_objects(parts), start=1):
        rows, columns = box
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if areas[i] >= least and areas[i] >= min_compact * height * width:
            blobs.append((int(areas[i]), (columns.start + columns.stop) // 2, (rows.start + rows.stop) // 2))
    return sorted(blobs, key=lambda b: (-b[0], b[1], b[2]))


def example() -> CheckExample:
    """Return an image of six bright discs, five of them annotated."""
    places = [(10, 10, 6), (28, 12, 6), (12, 30, 6), (28, 30, 6), (12, 48, 6), (29, 48, 6)]
    whole = painted(discs(*places, size=(40, 60)), (40, 60))
    return CheckExample.of(replace(whole, instances=whole.instances.take(range(5))), at=[("a", None)])


CHECK = Check(
    rule="probable-missed",
    title="Probably missed objects",
    description=(
        "Bright or dark blobs with the intensity and size of the image's annotated cells that no mask covers. Only for "
        "images that are annotated completely. Value: number of such blobs."
    ),
    find=find,
    needs_pixels=True,
    options=(
        Option("min_cells", MIN_CELLS, "number of annotated cells from which an image is checked", low=1),
        Option("min_apart", MIN_APART, "lowest contrast of cells and background, in standard deviations", low=0),
        Option("min_share", MIN_SHARE, "smallest area of an object, as a share of the median cell", low=0),
        Option("min_compact", MIN_COMPACT, "smallest share of its box that an object fills", low=0, high=1),
    ),
    example=example,
)
