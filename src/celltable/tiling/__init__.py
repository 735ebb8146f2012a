"""Cut large images into overlapping tiles, and stitch predictions on tiles back without seams.

>>> import numpy as np
>>> from celltable.cells import Instances
>>> truth = Instances.from_label_map(np.array([[1, 1, 1, 0, 2, 2]]))
>>> tiles = [(tile, cut(truth, tile)) for tile in grid(truth.size, (3, 4), overlap=2)]
>>> stitch(tiles, truth.size).label_map().label_map.tolist()
[[1, 1, 1, 0, 2, 2]]
"""

from __future__ import annotations

from ._stitch import MATCH, stitch, stitch_label_maps
from ._tiles import Tile, cut, grid, paint, place

__all__ = ["MATCH", "Tile", "cut", "grid", "paint", "place", "stitch", "stitch_label_maps"]
