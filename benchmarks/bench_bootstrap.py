"""Bootstrap intervals of scored metrics: resampling by weights against pooling a copy of each image per draw.

python benchmarks/bench_bootstrap.py [--images 670] [--cells 44] [--rounds 1000]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from celltable import plugins
from celltable.plugins.metric import Metric
from celltable.scoring import Pair, Side
from celltable.scoring.bootstrap import draws, replicates

METRICS = ("ap_coco", "ar_coco", "ap_livecell", "ar_livecell", "afnr_livecell", "tide")
SIDE, LITERAL = 360, 10  # px of an image; rounds of the slow method, whose time is scaled


def image(rng: np.random.Generator, name: str, cells: int) -> Pair:
    """Draw rectangles, and predictions that are moved or missing, with random scores."""
    gt, pred = np.zeros((2, SIDE, SIDE), np.int32)
    for k in range(1, cells + 1):
        (y, x), (h, w) = rng.integers(0, SIDE - 24, 2), rng.integers(8, 24, 2)
        dy, dx = np.maximum(rng.integers(-3, 4, 2), (-y, -x))
        gt[y : y + h, x : x + w] = k
        if rng.random() < 0.85:
            pred[y + dy : y + dy + h, x + dx : x + dx + w] = k
    n = len(np.unique(pred)) - 1
    return Pair(name, (SIDE, SIDE), Side.from_label_map(gt), Side.from_label_map(pred, scores=rng.random(n)))


def literal(metric: Metric, numbers: list[Any], rounds: int) -> list[float]:
    """Score each resample by pooling as many copies of each image as were drawn."""
    out = []
    for row in next(draws(len(numbers), rounds, 0)).tolist():
        copies = [n for n, times in zip(numbers, row, strict=True) for _ in range(times)]
        out.append(metric.pool(copies, "corrected", **metric.defaults).value)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=670)
    parser.add_argument("--cells", type=int, default=44)
    parser.add_argument("--rounds", type=int, default=1000)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    pairs = [image(rng, str(k), chosen.cells) for k in range(chosen.images)]
    print(f"{chosen.images} images of {chosen.cells} cells, {chosen.rounds} resamples")
    print(f"{'':14} {'weights s':>9} {'copies s':>9} {'ratio':>7}")
    for name in METRICS:
        metric: Metric = plugins.load("metrics", name)
        numbers = [metric.count(p, "corrected", **metric.defaults) for p in pairs]
        times, found = [], None
        for _ in range(3):
            started = time.perf_counter()
            found = replicates(metric, numbers, "corrected", metric.defaults, chosen.rounds, 0)
            times.append(time.perf_counter() - started)
        started = time.perf_counter()
        expected = literal(metric, numbers, LITERAL)
        slow = (time.perf_counter() - started) * chosen.rounds / LITERAL
        few = replicates(metric, numbers, "corrected", metric.defaults, LITERAL, 0)
        if found is None or few is None or few.tolist() != expected:
            raise SystemExit(f"{name}: the two methods differ")
        print(f"{name:14} {sorted(times)[1]:9.3f} {slow:9.1f} {slow / sorted(times)[1]:7.0f}")


if __name__ == "__main__":
    main()
