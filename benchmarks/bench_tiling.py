"""Stitching tiles: run lengths against the usual method, pasting tiles into one image-sized label map.

The peer is NumPy: for each tile, every label that shares more than half of the smaller cell with an existing label
takes its number, and others get new numbers; labels that join two are relabelled through a table. Both get
label maps of the same tiles and must give the same cells. Peak memory is what Python and NumPy allocate (tracemalloc),
without the label maps of the tiles.

Run: python benchmarks/bench_tiling.py [SIDE]
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _timing import compare, print_table
from celltable import synthetic, tiling
from celltable.cells import Instances
from celltable.tiling import Tile

Tiles = list[tuple[Tile, NDArray[Any]]]


def pasted(tiles: Tiles, size: tuple[int, int]) -> NDArray[np.int32]:
    """The peer: tiles pasted into one label map, labels matched by the pixels they share."""
    out = np.zeros(size, np.int32)
    top = 0
    for tile, labels in tiles:
        window = out[tile.row : tile.row + tile.height, tile.col : tile.col + tile.width]
        n = int(labels.max(initial=0))
        table = np.concatenate([[0], np.arange(top + 1, top + n + 1)]).astype(np.int32)
        both = (window > 0) & (labels > 0)
        if both.any():
            pairs, shared = np.unique(np.stack([labels[both], window[both]]), axis=1, return_counts=True)
            mine = np.bincount(labels.ravel(), minlength=n + 1)
            ids, areas = np.unique(window[window > 0], return_counts=True)
            theirs = dict(zip(ids.tolist(), areas.tolist(), strict=True))
            for (a, b), count in zip(pairs.T.tolist(), shared.tolist(), strict=True):
                if 2 * count > min(mine[a], theirs[b]):
                    table[a] = b
        top += n
        placed = table[labels]
        window[placed > 0] = placed[placed > 0]
    return out


def peak_mb(call: Callable[[], Any]) -> float:
    """Peak of what is allocated during a call, MB."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main(side: int = 4096) -> None:
    """Print times, ratios and peak memory for one image of `side` px a side."""
    size = (side, side)
    cells = side * side // 2500
    truth, _ = synthetic.label_maps(cells, size, seed=0)
    tiles: Tiles = []
    for tile in tiling.grid(size, 512, 64):
        ids, labels = np.unique(
            truth[tile.row : tile.row + tile.height, tile.col : tile.col + tile.width], return_inverse=True
        )
        tiles.append((tile, labels.reshape(tile.size).astype(np.int32) + (0 if ids[0] == 0 else 1)))
    tables = [(t, Instances.from_label_map(m)) for t, m in tiles]
    ways: dict[str, Callable[[], Any]] = {
        "pasted label maps (NumPy)": lambda: pasted(tiles, size),
        "stitch_label_maps": lambda: tiling.stitch_label_maps(tiles, size),
        "stitch (RLE tables)": lambda: tiling.stitch(tables, size),
    }
    known = len(np.unique(truth)) - 1
    found = len(tiling.stitch(tables, size)), len(np.unique(pasted(tiles, size))) - 1
    print(f"{side} × {side} px, {known:,} cells, {len(tiles)} tiles; found: stitch {found[0]:,}, pasted {found[1]:,}")
    print_table("stitching", compare(ways, rounds=3))
    for name, call in ways.items():
        print(f"  {name}: peak {peak_mb(call):,.1f} MB")


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:2]))
