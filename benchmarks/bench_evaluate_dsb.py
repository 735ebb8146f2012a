"""ap_dsb2018 over all images of the 2018 Data Science Bowl, from label maps to the score, against stardist in one run.

    python benchmarks/bench_evaluate_dsb.py STORE [PREDICTIONS]

STORE is the ingested stage1_train. Without predictions (a store of the same images), each cell of the ground truth is
moved by up to two pixels. Both sides are painted into label maps first, in memory; then celltable (`evaluate`, one
worker, without bootstrap) and `stardist.matching.matching_dataset` at the same ten thresholds take turns. CPU time,
medians. stardist's thresholds hit at >= and pool over images, so its counts are compared with ap_stardist's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

import celltable as ct
from celltable.scoring import Side
from celltable.store import open_store

THRESHOLDS = tuple(np.arange(0.5, 1.0, 0.05).tolist())
Maps = dict[str, NDArray[np.int32]]


def label_maps(store: Any) -> Maps:
    """Map image ids to label maps of 1..n."""
    maps = {}
    for sample in store.samples():
        painted = np.asarray(Side.from_instances(sample.instances).label_map)
        maps[sample.image.image_id] = np.unique(painted, return_inverse=True)[1].reshape(painted.shape).astype(np.int32)
    return maps


def moved(maps: Maps) -> Maps:
    """Move each map by up to two pixels."""
    rng = np.random.default_rng(0)
    return {name: np.roll(m, rng.integers(-2, 3, 2), (0, 1)) for name, m in maps.items()}


def cpu(run: Callable[[], Any]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("predictions", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    from stardist.matching import matching_dataset

    truth = label_maps(open_store(given.store))
    found = label_maps(open_store(given.predictions)) if given.predictions else moved(truth)
    gts, preds = list(truth.values()), [found[name] for name in truth]
    n_true, n_pred = (sum(int(m.max()) for m in maps) for maps in (gts, preds))
    print(f"{len(gts)} images, {n_true:,} true and {n_pred:,} predicted cells")

    def ours(metric: str = "ap_dsb2018") -> Any:
        return ct.evaluate(gts, preds, metrics=[metric], mode="strict", rounds=0)

    def theirs() -> Any:
        return matching_dataset(gts, preds, THRESHOLDS, show_progress=False)

    both = ours("ap_stardist")["ap_stardist"].fields
    assert [s.tp for s in theirs()] == both["tp"], "the counts differ"
    times = [(cpu(ours), cpu(lambda: ours("ap_stardist")), cpu(theirs)) for _ in range(given.rounds)]
    dsb, same, peer = (statistics.median(column) for column in zip(*times, strict=True))
    for name, taken in (("ap_dsb2018", dsb), ("ap_stardist", same), ("stardist matching_dataset", peer)):
        print(f"{name:<28} {1e3 * taken:9.1f} ms CPU  {peer / taken:6.1f}x")


if __name__ == "__main__":
    main()
