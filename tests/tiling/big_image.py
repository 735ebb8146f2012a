"""Cut a large sparse image into tiles, stitch them, and print the growth of the process in MB and the cells found."""

from __future__ import annotations

import resource
import sys

import numpy as np

from celltable import tiling
from celltable.cells import Instances
from celltable.geometry import rle


def disks(side: int, n: int, seed: int = 0) -> Instances:
    """Make discs of 8 to 30 px radius, one per cell of a grid, from runs: no mask is ever drawn."""
    rng = np.random.default_rng(seed)
    per_row = int(np.ceil(np.sqrt(n)))
    pitch = side // per_row
    counts = []
    for k in range(n):
        radius = int(rng.integers(8, 31))
        top, left = (pitch * v + int(rng.integers(0, pitch - 2 * radius - 1)) for v in divmod(k, per_row))
        across = np.arange(-radius, radius + 1)
        half = np.sqrt(radius**2 - across**2).astype(int)
        starts = (left + radius + across) * side + top + radius - half
        counts.append(rle.from_runs(starts, 2 * half + 1, (side, side)))
    return Instances.from_rle(counts, (side, side))


def main(side: int, n: int) -> None:
    """Print the growth in MB and the number of cells; fail if a cell has changed."""
    truth = disks(side, n)
    tiles = tiling.grid(truth.size, 1024, 64)
    tiling.stitch([(tiles[0], tiling.cut(truth, tiles[0]))], truth.size)  # load the lazy imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = tiling.stitch(((t, tiling.cut(truth, t)) for t in tiles), truth.size)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sorted(found.rle) != sorted(truth.rle):
        raise SystemExit("the cells are not those that were cut")
    print((after - before) // 1024, len(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
