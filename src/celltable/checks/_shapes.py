"""Shapes of the cells of an image, measured once for all its checks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Instances, Sample
from celltable.geometry.shapes import Shapes, on_border

_last = threading.local()


def shapes_of(sample: Sample) -> Shapes:
    """Measure the shapes of a sample's cells; each thread remembers its last sample, so that checks share the work."""
    cells: Instances | None = getattr(_last, "cells", None)
    if cells is not sample.instances:
        _last.cells, _last.shapes = sample.instances, Shapes.of(sample.instances)
    found: Shapes = _last.shapes
    return found


def judged(sample: Sample) -> NDArray[np.bool_]:
    """Flag cells whose shape should be that of one cell: all but crowds, which are groups on purpose."""
    return ~np.asarray(sample.instances.column("crowd"), dtype=bool).reshape(len(sample.instances))


def cut_by_border(sample: Sample) -> NDArray[np.bool_]:
    """Whether each cell has a pixel in the first or last row or column."""
    return on_border(sample.instances.bbox, sample.instances.size)


def polygons(sample: Sample) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield (position, vertices (n, 2) as x, y) of the cells with a published polygon."""
    from celltable.geometry import polygon

    if sample.instances.polygon is None:
        return
    for i, packed in enumerate(sample.instances.column("polygon")):
        if packed is not None:
            parts = polygon.unpack(packed)
            yield i, np.concatenate([np.asarray(p, dtype=np.float64).reshape(-1, 2) for p in parts])
