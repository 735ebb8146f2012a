"""COCO's average precision and recall of resampled images, bit for bit those of each image listed as often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable._native import matching

from .accumulate import join, mean_defined
from .matching import Floats, Tally
from .protocol import Protocol

EPS = float(np.spacing(1))  # below precision: COCOeval.accumulate
CELLS = 8_000_000  # numbers of curves held at once


def resample_precision(tallies: Sequence[Tally], weights: NDArray[Any], protocol: Protocol, threads: int = 1) -> Floats:
    """Mean AP (all areas, largest limit) when image i counts weights[b, i] times, float64 (B,); NaN without cells.

    The numbers are bit for bit those of `accumulate` on each image listed so many times in a row: the detections are
    sorted once, and every resample walks the true positives in that order.
    """
    joined, n_gt = join(tallies, protocol), _truth_of_images(tallies)
    image = np.repeat(np.arange(len(tallies), dtype=np.int32), [len(t["score"]) for t in tallies])
    codes = np.ascontiguousarray(joined["codes"][0])
    rows = np.ascontiguousarray(weights, np.int64)
    step = max(1, CELLS // max(len(codes) * len(protocol.recalls) * n_gt.shape[1], 1))
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
    found = weights @ hits.reshape(len(tallies), -1)  # whole numbers, exact in float64
    positives = np.asarray(weights @ n_gt.astype(np.float64))[:, None, :]
    there = np.broadcast_to(positives > 0, (len(weights), *hits.shape[1:]))
    recall = np.full(there.shape, -1.0)
    np.divide(found.reshape(there.shape), positives, out=recall, where=there)
    return _means(recall)


def _truth_of_images(tallies: Sequence[Tally]) -> NDArray[np.int64]:
    """Cells to be found of each image and class (area range "all")."""
    n_gt = np.zeros((len(tallies), max((len(t["n_gt"]) for t in tallies), default=1)), np.int64)
    for i, t in enumerate(tallies):
        n_gt[i, : len(t["n_gt"])] = t["n_gt"][:, 0]
    return n_gt


def _means(blocks: Floats) -> Floats:
    """`mean_defined` of each block, NaN where nothing is defined; summed in the same order."""
    rows = blocks.reshape(len(blocks), -1)
    if not (rows == -1).any():
        return np.asarray(rows.mean(axis=1), np.float64)
    return np.array([mean_defined(row) if (row > -1).any() else np.nan for row in rows])
