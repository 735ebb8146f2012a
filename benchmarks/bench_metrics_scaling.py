"""Cost against the number of cells, and one very large pair of maps in memory and on disk.

python benchmarks/bench_metrics_scaling.py [--largest 1000000] [--big 20000]
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.scoring import Pair, Side
from celltable.scoring.engine import evaluate_pairs

METRICS = (
    "ap_dsb2018",
    "ap_stardist",
    "ap_cellpose",
    "aji_cellpose",
    "aji_kumar2017",
    "aji_plus",
    "dice_pixel",
    "dice_ensemble",
    "iou_pixel",
    "pq_hovernet",
    "seg_ctc",
    "det_ctc",
    "errors_caicedo",
    "boundary_f_cellpose",
)
CELL = 28  # px between cells: 28² = 784 px² per cell, about 480 of them covered


def tissue(side: int, shift: int) -> NDArray[np.uint32]:
    """Draw a square map of touching cells on a grid, moved by `shift` pixels, one row of cells at a time."""
    per_row = -(-side // CELL)
    y, x = np.mgrid[:CELL, :CELL] - CELL / 2
    disc = (y**2 + x**2 <= (0.44 * CELL) ** 2).astype(np.uint32)
    row = np.tile(disc, (1, per_row))[:, :side]
    column_of = np.repeat(np.arange(per_row, dtype=np.uint32), CELL)[:side]
    out = np.zeros((side, side), np.uint32)
    for k in range(per_row):
        part = out[k * CELL : (k + 1) * CELL]
        part[:] = (row * (k * per_row + 1 + column_of))[: len(part)]
    return np.roll(out, shift, axis=1) if shift else out


def score(gt: NDArray[Any], pred: NDArray[Any]) -> tuple[float, int]:
    pair = Pair("big", (gt.shape[0], gt.shape[1]), Side.from_label_map(gt), Side.from_label_map(pred))
    started = time.perf_counter()
    scores = evaluate_pairs([pair], METRICS, rounds=0)
    return time.perf_counter() - started, int(scores["det_ctc"].fields["n_ref"])


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def scaling(largest: int) -> None:
    print(f"{'cells':>10} {'side px':>8} {'seconds':>9} {'µs/cell':>10}")
    n = 1000
    while n <= largest:
        side = int((n**0.5) * CELL)
        seconds, found = score(tissue(side, 0), tissue(side, 2))
        print(f"{found:>10,} {side:>8,} {seconds:>9.3f} {1e6 * seconds / found:>10.2f}")
        n *= 10


def big(side: int) -> None:
    gt, pred = tissue(side, 0), tissue(side, 2)
    both = gt.nbytes + pred.nbytes
    seconds, found = score(gt, pred)
    print(f"{side:,}², {found:,} cells, in memory: {seconds:.1f} s, peak {peak_bytes() / both:.2f} x the two maps")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("gt.npy", "pred.npy")]
        for path, label_map in zip(paths, (gt, pred), strict=True):
            np.save(path, label_map)
        del gt, pred
        seconds, _ = score(*(np.load(path, mmap_mode="r") for path in paths))
        print(f"{side:,}², {found:,} cells, memory-mapped: {seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--big", type=int, default=20_000)
    chosen = parser.parse_args()
    if chosen.big:
        big(chosen.big)
    scaling(chosen.largest)


if __name__ == "__main__":
    main()
