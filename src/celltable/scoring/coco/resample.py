"""COCO's average precision and recall of resampled images, bit-equal to repeating each image in the list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable._native import matching

from .accumulate import join, mean_defined
from .matching import Floats, Tally
from .protocol import Protocol

EPS = float(np.spacing(1))  # in the denominator of precision: COCOeval.accumulate
CHUNK = 8_000_000  # numbers of curves in memory at once


def resample_precision(tallies: Sequence[Tally], weights: NDArray[Any], protocol: Protocol, threads: int = 1) -> Floats:
    """Compute mean AP (all areas, largest limit) when image i counts weights[b, i] times, float64 (B,).

    NaN without cells. The numbers are bit-equal to those of `accumulate` with each image repeated that often in a row:
    the detections are sorted once, and every resample walks the true positives in that order.
    """
    joined, n_gt = join(tallies, protocol), _truth_of_images(tallies)
    image = np.repeat(np.arange(len(tallies), dtype=np.int32), [len(t["score"]) for t in tallies])
    codes = np.ascontiguousarray(joined["codes"][0])
    rows = np.ascontiguousarray(weights, np.int64)
    step = max(1, CHUNK // max(len(codes) * len(protocol.recalls) * n_gt.shape[1], 1))
    means = []
    for start in range(0, len(rows), step):
        precision, _ = matching.resample(
            score=joined["score"],
            category=joined["category"],
            image=image,
            codes=codes,
            n_gt=n_gt,
            weights=rows[start : start + step],
            recalls=np.array(protocol.recalls),
            spacing=EPS,
            threads=threads,
        )
        means.append(_means(precision))
    return np.concatenate(means) if means else np.zeros(0)


def resample_recall(tallies: Sequence[Tally], weights: NDArray[Any], protocol: Protocol) -> Floats:
    """Compute mean AR of resampled images, float64 (B,); recall needs no order, so hits are counted once per image."""
    n_gt = _truth_of_images(tallies)
    hits = np.zeros((len(tallies), len(protocol.thresholds), n_gt.shape[1]))
    for i, t in enumerate(tallies):
        for k in np.unique(t["category"]).tolist():
            hits[i, :, k] = (t["codes"][0][:, t["category"] == k] == 1).sum(axis=1)
    hit_cells = weights @ hits.reshape(len(tallies), -1)  # whole numbers, exact in float64
    positives = np.asarray(weights @ n_gt.astype(np.float64))[:, None, :]
    defined = np.broadcast_to(positives > 0, (len(weights), *hits.shape[1:]))
    recall = np.full(defined.shape, -1.0)
    np.divide(hit_cells.reshape(defined.shape), positives, out=recall, where=defined)
    return _means(recall)


def _truth_of_images(tallies: Sequence[Tally]) -> NDArray[np.int64]:
    """Count the cells to find in each image and class (area range "all"), int64 (images, classes)."""
    n_gt = np.zeros((len(tallies), max((len(t["n_gt"]) for t in tallies), default=1)), np.int64)
    for i, t in enumerate(tallies):
        n_gt[i, : len(t["n_gt"])] = t["n_gt"][:, 0]
    return n_gt


def _means(blocks: Floats) -> Floats:
    """Average each block as `mean_defined` does, in the same order of summation; NaN if nothing is defined."""
    rows = blocks.reshape(len(blocks), -1)
    if not (rows == -1).any():
        return np.asarray(rows.mean(axis=1), np.float64)
    return np.array([mean_defined(row) if (row > -1).any() else np.nan for row in rows])
