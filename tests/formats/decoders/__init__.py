"""Decoders of formats, one file each, found by the format's name: other people's libraries, nothing of celltable.

``decode(out, samples)`` returns a label map per image, or for a format that keeps overlapping cells the masks of each
image in the order of its cells; it may also assert what else the files say of `samples`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Masks = dict[str, list[Mask]]  # image → its cells in order
Maps = dict[str, NDArray[Any]]  # image → label map


def inside(rings: list[list[list[float]]], size: tuple[int, int]) -> Mask:
    """Fill the pixels whose centre is inside an odd number of rings; coordinates are those of pixel corners."""
    crossings = np.zeros(size, int)
    centres = np.arange(size[1]) + 0.5
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if y0 == y1:
                continue
            low, high = sorted((y0, y1))
            for row in range(max(0, int(np.floor(low))), min(size[0], int(np.ceil(high)))):
                if low <= row + 0.5 < high:
                    crossings[row] += centres > x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    return np.asarray(crossings % 2 == 1)
