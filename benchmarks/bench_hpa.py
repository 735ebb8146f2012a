"""HPA mAP of images of 2048×2048 with 40 cells of 3 labels each, against the Open Images evaluator's rule in NumPy.

The transcription does what the TensorFlow evaluator does: it decodes every mask to the full frame and takes
numpy.minimum for every pair of a class. Both start from compressed run lengths and must agree to the last bit.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from _cells import counts_of, outlines, predicted
from celltable.metrics.map_hpa2021 import METRIC
from celltable.scoring import Pair, Side, score_pairs

SIZE = (2048, 2048)
CLASSES = 19
Rows = list[tuple[int, float, bytes]]  # class, score, mask


def scene(rng: np.random.Generator, cells: int, labels: int) -> tuple[Rows, Rows]:
    """Generate ground truth and predictions of one image, one row per label of a cell."""
    truth = outlines(rng, SIZE, cells)
    found = predicted(rng, truth, SIZE, cells)
    gt, dt = [], []
    for counts, guess in zip(counts_of(truth, SIZE), counts_of(found, SIZE), strict=True):
        names = rng.choice(CLASSES, labels, replace=False).tolist()
        gt += [(c, 0.0, counts) for c in names]
        dt += [(c if rng.random() < 0.7 else int(rng.integers(CLASSES)), float(rng.random()), guess) for c in names]
    return gt, dt


def transcription(images: list[tuple[Rows, Rows]], threshold: float = 0.6) -> float:
    """Apply the rule on full frames."""
    hits: dict[int, list[tuple[float, bool]]] = {c: [] for c in range(CLASSES)}
    n_gt = dict.fromkeys(range(CLASSES), 0)
    for gt, dt in images:
        truth = [(c, full(counts)) for c, _, counts in gt]
        guess = [(c, score, full(counts)) for c, score, counts in dt]
        for c in sorted({c for c, _ in truth}):
            cells = [m for k, m in truth if k == c]
            n_gt[c] += len(cells)
            taken: set[int] = set()
            for score, mask in sorted(((s, m) for k, s, m in guess if k == c), key=lambda r: -r[0]):
                iou = [overlap(mask, cell) for cell in cells]
                best = int(np.argmax(iou))
                hit = bool(iou[best] >= np.float32(threshold)) and best not in taken
                if hit:
                    taken.add(best)
                hits[c].append((score, hit))
    return float(np.nanmean([voc(hits[c], n_gt[c]) for c in range(CLASSES) if n_gt[c]]))


def full(counts: bytes) -> NDArray[Any]:
    """Decode a mask to the full frame."""
    return np.asarray(coco_mask.decode({"size": list(SIZE), "counts": counts}))


def overlap(a: NDArray[Any], b: NDArray[Any]) -> np.float32:
    """Compute the IoU in float32, as np_mask_ops does."""
    shared = np.float32(np.minimum(a, b).sum(dtype=np.float32))
    union = a.sum(dtype=np.float32) + b.sum(dtype=np.float32) - shared
    return np.float32(shared / np.maximum(union, np.float32(1e-7)))


def voc(rows: list[tuple[float, bool]], n_gt: int) -> float:
    """Compute the VOC 2010 average precision."""
    scores, hit = np.array([r[0] for r in rows]), np.array([r[1] for r in rows], bool)
    hit = hit[np.argsort(-scores, kind="stable")]
    true = np.cumsum(hit)
    recall = np.concatenate([[0], true / n_gt, [1]])
    precision = np.concatenate([[0], true / np.arange(1, len(hit) + 1), [0]])
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = np.maximum(precision[i], precision[i + 1])
    steps = np.where(recall[1:] != recall[:-1])[0] + 1
    return float(np.sum((recall[steps] - recall[steps - 1]) * precision[steps]))


def ours(images: list[tuple[Rows, Rows]]) -> float:
    """Compute the same with celltable."""
    return score_pairs(
        METRIC, [Pair(str(k), SIZE, side(gt), side(dt)) for k, (gt, dt) in enumerate(images)], "strict"
    ).value


def side(rows: Rows) -> Side:
    """Convert rows to cells; rows with the same mask become one cell with several classes."""
    cells: dict[bytes, list[tuple[str, float]]] = {}
    for c, score, counts in rows:
        cells.setdefault(counts, []).append((str(c), score))
    several = list(cells.values())
    words = tuple(map(str, range(CLASSES)))
    codes = np.array([int(names[0][0]) for names in several], np.int64)
    best = np.array([max(s for _, s in names) for names in several])
    return Side.from_rle(list(cells), SIZE, class_codes=codes, class_names=words, scores=best, several=several)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--labels", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images = [scene(rng, options.cells, options.labels) for _ in range(9)]
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        ours(images)
        seconds.append((time.perf_counter() - start) / len(images))
    start = time.perf_counter()
    theirs = transcription(images[:2])
    base = (time.perf_counter() - start) / 2
    mine = statistics.median(seconds)
    print(f"celltable             {mine * 1e3:9.2f} ms per image")
    print(f"NumPy transcription   {base * 1e3:9.0f} ms per image   celltable is {base / mine:,.0f} times as fast")
    print(f"mAP of two images: {ours(images[:2])!r} and {theirs!r}")
    assert ours(images[:2]) == theirs


if __name__ == "__main__":
    main()
