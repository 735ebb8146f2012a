"""COCO mask AP with LIVECell's settings, from JSON files: celltable against pycocotools, faster-coco-eval and hotcoco.

50 images of 520×704 with 300 cells (polygons) and 500 predictions (run lengths) each; all area ranges, limits and
recalls. Every number is compared with pycocotools; the arrays must be equal bit for bit. Prints seconds and ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from _cells import write_coco
from celltable.scoring.coco.files import coco_arrays
from celltable.scoring.coco.protocol import LIVECELL

AREAS = [[low, high] for _, low, high in LIVECELL.areas]
LIMITS = list(LIVECELL.max_dets)


def ours(gt: Path, dt: Path, threads: int = 2) -> dict[str, Any]:
    """Compute the arrays with celltable."""
    found = coco_arrays(gt, dt, protocol="livecell", mode="strict", threads=threads)
    return {"precision": found.precision, "recall": found.recall, "scores": found.scores}


def with_package(coco: Any, evaluator: Any, gt: Path, dt: Path, **options: Any) -> dict[str, Any]:
    """Compute the arrays with a package that has pycocotools' interface."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco(str(gt))
        run = evaluator(truth, truth.loadRes(str(dt)), "segm", **options)
        run.params.catIds, run.params.useCats = [1], 0
        run.params.maxDets, run.params.areaRng = LIMITS, AREAS
        run.evaluate()
        run.accumulate()
    return dict(run.eval)


def pycocotools(gt: Path, dt: Path) -> dict[str, Any]:
    """Run the reference."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return with_package(COCO, COCOeval, gt, dt)


def faster_coco_eval(gt: Path, dt: Path) -> dict[str, Any]:
    """Run faster-coco-eval (C++)."""
    from faster_coco_eval import COCO, COCOeval_faster

    return with_package(COCO, COCOeval_faster, gt, dt, print_function=lambda *_: None)


def hotcoco(gt: Path, dt: Path) -> dict[str, Any]:
    """Run hotcoco (Rust)."""
    from hotcoco import COCO, COCOeval

    return with_package(COCO, COCOeval, gt, dt)


def timed(function: Callable[[Path, Path], dict[str, Any]], gt: Path, dt: Path, rounds: int) -> tuple[float, Any]:
    """Return the median seconds and the last result."""
    seconds, found = [], {}
    for _ in range(rounds):
        start = time.perf_counter()
        found = function(gt, dt)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gt, dt = write_coco(Path(folder), options.images, (520, 704), 300, 500)
        base, mine = timed(ours, gt, dt, 7)
        single, _ = timed(lambda a, b: ours(a, b, threads=1), gt, dt, 5)
        print(f"{'celltable, 2 threads':24} {base:8.3f} s")
        print(f"{'celltable, 1 thread':24} {single:8.3f} s")
        for name, function, rounds in (
            ("hotcoco", hotcoco, 3),
            ("faster-coco-eval", faster_coco_eval, 3),
            ("pycocotools", pycocotools, 1),
        ):
            try:
                seconds, theirs = timed(function, gt, dt, rounds)
            except ImportError:
                print(f"{name:24} not installed")
                continue
            print(f"{name:24} {seconds:8.3f} s   celltable is {seconds / base:6.1f} times as fast")
        same = {k: bool(np.array_equal(mine[k], theirs[k])) for k in mine}
        print(f"bit-equal to pycocotools: {same}")
        assert all(same.values())


if __name__ == "__main__":
    main()
