"""The Open Images matching rule, as used by HPA: each detection tries only the cell it overlaps most, in float32."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins.metric import Mode

from .pair import Pair
from .side import Side

Floats = NDArray[np.float64]
EPSILON = np.float32(1e-7)  # np_mask_ops.py
Numbers = dict[str, "ClassNumbers"]


@dataclass(frozen=True, slots=True, eq=False)
class ClassNumbers:
    """One class in one image: detection scores, descending, whether each is a hit, and the number of cells to find."""

    scores: Floats
    hits: NDArray[np.bool_]
    n_gt: int


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Cells of one side, repeated for each of their classes."""

    cell: NDArray[np.int64]
    names: NDArray[np.str_]
    scores: Floats


def _rows(side: Side, scores: Floats | None) -> _Rows:
    cell, names, by_row = [], [], []
    codes = [-1] * len(side) if side.class_codes is None else side.class_codes.tolist()
    several: Sequence[Any] = side.several or [None] * len(side)
    own = [float("nan")] * len(side) if scores is None else scores.tolist()
    for k, (code, more) in enumerate(zip(codes, several, strict=True)):
        for name, score in more or ([(side.class_names[code], own[k])] if code >= 0 else []):
            cell.append(k)
            names.append(name)
            by_row.append(own[k] if np.isnan(score) else score)
    return _Rows(np.array(cell, np.int64), np.array(names, np.str_), np.array(by_row, np.float64))


def image_numbers(pair: Pair, mode: Mode, threshold: float, absent_class: str, shape: str) -> Numbers:
    """Match the detections of every class of one image.

    Raises
    ------
    MetricError
        If a prediction has no score.
    """
    gt, dt = _rows(pair.gt, None), _rows(pair.pred, pair.ranking_scores)
    dt = _keep(dt, pair.pred.areas[dt.cell] > 0)  # empty boxes are dropped
    group = pair.gt.flags if mode == "corrected" else _crowd(pair.gt)
    overlaps = _Overlaps.of(pair, shape)
    present = set(gt.names.tolist())
    wanted = sorted(present if absent_class == "ignore" else present | set(dt.names.tolist()))
    return {
        n: _of_class(_keep(gt, gt.names == n), _keep(dt, dt.names == n), group, overlaps, threshold) for n in wanted
    }


def _crowd(side: Side) -> NDArray[np.bool_]:
    return np.zeros(len(side), bool) if side.crowd is None else side.crowd


def _keep(rows: _Rows, mask: NDArray[np.bool_]) -> _Rows:
    return _Rows(rows.cell[mask], rows.names[mask], rows.scores[mask])


@dataclass(frozen=True, slots=True, eq=False)
class _Overlaps:
    """Overlapping pairs sorted by prediction, with IoU and intersection over the prediction's area (ioa) in float32."""

    first: NDArray[np.int64]
    gt: NDArray[np.int64]
    iou: NDArray[np.float32]
    ioa: NDArray[np.float32]

    @classmethod
    def of(cls, pair: Pair, shape: str) -> _Overlaps:
        if shape == "bbox":
            gt, dt, intersection, gt_area, dt_area = _box_pairs(pair)
        else:
            table = pair.overlap
            gt, dt = np.asarray(table.gt_index, np.int64), np.asarray(table.pred_index, np.int64)
            intersection = table.intersection.astype(np.float32)
            gt_area, dt_area = table.gt_areas.astype(np.float32), table.pred_areas.astype(np.float32)
        order = np.lexsort((gt, dt))
        gt, dt, intersection = gt[order], dt[order], intersection[order]
        union = dt_area[dt] + gt_area[gt] - intersection
        first = np.searchsorted(dt, np.arange(len(pair.pred) + 1))
        iou, ioa = intersection / np.maximum(union, EPSILON), intersection / np.maximum(dt_area[dt], EPSILON)
        return cls(first, gt, iou, ioa)


def _box_pairs(pair: Pair) -> tuple[Any, ...]:
    gt, dt = pair.gt.boxes.astype(np.float32), pair.pred.boxes.astype(np.float32)
    low = np.maximum(gt[:, None, :2], dt[None, :, :2])
    high = np.minimum((gt[:, :2] + gt[:, 2:])[:, None], (dt[:, :2] + dt[:, 2:])[None])
    side = np.maximum(high - low, 0)
    shared = side[..., 0] * side[..., 1]
    g, d = np.nonzero(shared > 0)
    return g, d, shared[g, d], gt[:, 2] * gt[:, 3], dt[:, 2] * dt[:, 3]


def _of_class(gt: _Rows, dt: _Rows, group: NDArray[np.bool_], overlaps: _Overlaps, threshold: float) -> ClassNumbers:
    order = np.argsort(-dt.scores, kind="stable")
    place = {c: k for k, c in enumerate(gt.cell.tolist()) if not group[c]}
    grouped = {c for c in gt.cell.tolist() if group[c]}
    hits, kept, taken = np.zeros(len(order), bool), np.ones(len(order), bool), set[int]()
    bar = np.float32(threshold)
    for k, cell in enumerate(dt.cell[order].tolist()):
        best, chosen, most = np.float32(0), -1, np.float32(0)
        for j in range(overlaps.first[cell], overlaps.first[cell + 1]):
            other = int(overlaps.gt[j])
            if other in place and overlaps.iou[j] > best:  # of equal ones, the first
                best, chosen = overlaps.iou[j], other
            elif other in grouped:
                most = max(most, overlaps.ioa[j])
        if chosen >= 0 and best >= bar and chosen not in taken:
            hits[k] = True
            taken.add(chosen)
        elif most >= bar:
            kept[k] = False
    return ClassNumbers(dt.scores[order][kept], hits[kept], len(place))


def average_precision(parts: Sequence[ClassNumbers]) -> float:
    """Compute the area under the precision envelope (VOC 2010, all points); NaN for a class without cells."""
    n_gt = sum(p.n_gt for p in parts)
    if not n_gt:
        return float("nan")
    scores = np.concatenate([p.scores for p in parts])
    hits = np.concatenate([p.hits for p in parts])[np.argsort(-scores, kind="stable")]
    true, false = np.cumsum(hits), np.cumsum(~hits)
    recall = np.concatenate([[0], true / n_gt, [1]])
    precision = np.concatenate([[0], true / (true + false), [0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(np.sum((recall[steps] - recall[steps - 1]) * precision[steps]))


def warn_of_ties(numbers: Sequence[Numbers], mode: Mode) -> None:
    """Warn if more than half of the detections share their score with another of their class."""
    tied = total = 0
    for name in {n for image in numbers for n in image}:
        scores = np.concatenate([image[name].scores for image in numbers if name in image])
        _, counts = np.unique(scores, return_counts=True)
        tied, total = tied + int(counts[counts > 1].sum()), total + len(scores)
    if total > 1 and 2 * tied > total:
        warnings.warn(
            f"{tied:,} of {total:,} detections share their score with another of their class; the official evaluator "
            "sorts them with an unstable sort, so its number may differ",
            stacklevel=4,
        )
