"""Time of checking: all rules that do not need pixels, all rules, and the usual loop over full-frame masks.

    python benchmarks/bench_check.py STAGE1_TRAIN.zip        # or a celltable folder

The usual method decodes each mask to the full frame with pycocotools, labels it twice, fills its holes with scipy, and
finds overlaps by summing all masks of an image: the same holes, parts and overlaps, and nothing else. It runs on every
48th image; the ratio is per cell, in one run, on one thread each.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pycocotools import mask as coco
from scipy import ndimage

from celltable.geometry.shapes import Shapes
from celltable.pipelines.check import check
from celltable.pipelines.ingest import ingest
from celltable.store import Store, open_store

ROUNDS = 3  # of the fast method; the usual one runs once


def usual(store: Store, ids: list[str]) -> tuple[int, int, int]:
    """Count cells with holes, with several parts, and overlapping pixels, by full-frame masks."""
    holes = parts = overlapping = 0
    for image_id in ids:
        cells = store.instances_of(image_id)
        total = np.zeros(cells.size, dtype=np.uint8)
        for counts in cells.rle:
            mask = coco.decode({"size": list(cells.size), "counts": counts})
            holes += int(ndimage.binary_fill_holes(mask).sum() > mask.sum())
            parts += int(ndimage.label(mask)[1] > 1) + 0 * ndimage.label(mask, np.ones((3, 3)))[1]
            total += mask
        overlapping += int((total > 1).sum())
    return holes, parts, overlapping


def measured(store: Store, ids: list[str]) -> tuple[int, int, int]:
    """Count the same with celltable's shapes."""
    holes = parts = overlapping = 0
    for image_id in ids:
        shapes = Shapes.of(store.instances_of(image_id))
        holes += int((shapes.hole_area > 0).sum())
        parts += int((shapes.parts4 > 1).sum()) + 0 * int(shapes.parts8.sum())
        overlapping += sum(px for _, _, px in shapes.all_overlaps)
    return holes, parts, overlapping


def seconds(call: Callable[[], object], rounds: int = ROUNDS) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path, help="stage1_train.zip of the Data Science Bowl 2018, or a celltable folder")
    path: Path = parser.parse_args().path
    with tempfile.TemporaryDirectory() as folder:
        is_store = (path / "dataset.json").exists()
        store = open_store(path) if is_store else ingest("dsb2018", path, Path(folder) / "dsb.celltable")
        ids, n = list(store)[::48], store.instances.num_rows
        if measured(store, ids) != usual(store, ids):
            raise SystemExit("the two methods disagree, so their times cannot be compared")
        slow, fast = seconds(lambda: usual(store, ids), rounds=1), seconds(lambda: measured(store, ids))
        bare = seconds(lambda: check(store, pixels=False, workers=2, write=False))
        full = seconds(lambda: check(store, workers=2, write=False), rounds=1)
    print(f"{len(store):,} images, {n:,} cells")
    print(
        f"holes, parts, overlaps of every 48th image: usual {slow:.2f} s, celltable {fast:.2f} s, {slow / fast:.1f} ×"
    )
    print(f"check, every rule without pixels, 2 threads: {bare:.2f} s")
    print(f"check, every rule, 2 threads: {full:.2f} s")


if __name__ == "__main__":
    main()
