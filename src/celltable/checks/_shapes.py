"""Cell shapes of an image, measured once for all checks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Instances, Sample
from celltable.geometry.shapes import Shapes, on_border

_last = threading.local()


def shapes_of(sample: Sample) -> Shapes:
    """Measure a sample's cells; each thread caches its last sample, so that the checks share the work."""
    cells: Instances | None = getattr(_last, "cells", None)
    if cells is not sample.instances:
        _last.cells, _last.shapes = sample.instances, Shapes.of(sample.instances)
    shapes: Shapes = _last.shapes
    return shapes


def judged(sample: Sample) -> NDArray[np.bool_]:
    """Flag the masks that should be a single cell: all except crowds."""
    return ~np.asarray(sample.instances.column("crowd"), dtype=bool).reshape(len(sample.instances))


def cut_by_border(sample: Sample) -> NDArray[np.bool_]:
    """Flag cells that have a pixel in the first or last row or column."""
    return on_border(sample.instances.bbox, sample.instances.size)


def polygons(sample: Sample) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (position, vertices (n, 2) as x, y) for each cell with a published polygon."""
    from celltable.geometry import polygon

    if sample.instances.polygon is None:
        return
    for i, packed in enumerate(sample.instances.column("polygon")):
        if packed is not None:
            parts = polygon.unpack(packed)
            yield i, np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1, 2) for p in parts])
