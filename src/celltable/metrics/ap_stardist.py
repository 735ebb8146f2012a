"""All numbers of stardist's matching() and matching_dataset(), both pooled over images and averaged over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.errors import MetricError
from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.means import divided, nanmeans, weighted_sums
from celltable.scoring.pair_table import PairTable

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
Counts = dict[str, Any]

CARD = Card(
    title="StarDist matching",
    quantity="accuracy TP / (TP + FP + FN), mean over the thresholds, and every other field of stardist.matching",
    authority="stardist.matching (matching, matching_dataset)",
    citation="Schmidt et al., Cell detection with star-convex polygons, MICCAI 2018, LNCS 11071, 265-273",
    doi="10.1007/978-3-030-00934-2_30",
    url="https://github.com/stardist/stardist",
    formula=(
        "accuracy = TP/(TP+FP+FN), f1 = 2TP/(2TP+FP+FN), mean_matched_score = sum of IoU/TP, mean_true_score = sum of "
        "IoU/n_true, panoptic_quality = sum of IoU/(TP+FP/2+FN/2)"
    ),
    matching=(
        "one to one: as many pairs of IoU >= t as possible, then the largest sum of IoU (criterion iou; iot divides by "
        "the area of the ground truth, iop by that of the prediction)"
    ),
    ties="an IoU of exactly t, both as float32, is a hit",
    averaging="pooled over images (by_image=False); the fields of by_image=True are means over images",
    empty="corrected: undefined ratios are NaN and left out of means over images; strict: they are 0 and counted",
    thresholds="0.5, 0.55, …, 0.95 (option thresholds)",
    strict="every undefined ratio is 0, in means over images too",
    namesakes="ap_dsb2018 counts an IoU of exactly t as a miss; ap_cellpose compares float64",
)


def scores(table: PairTable, criterion: str) -> NDArray[np.float32]:
    """Compute the criterion of each overlapping pair: the float64 quotient rounded to float32."""
    if criterion == "iou":
        below = table.union
    elif criterion == "iot":
        below = table.gt_areas[table.gt_index]
    elif criterion == "iop":
        below = table.pred_areas[table.pred_index]
    else:
        raise MetricError(f"ap_stardist has no criterion '{criterion}'; expected iou, iot or iop.")
    return (table.intersection / below).astype(np.float32)


def matched(table: PairTable, s: NDArray[np.float32], threshold: float, criterion: str) -> NDArray[np.intp]:
    """Return the hits of stardist's assignment."""
    hit = s >= np.float32(threshold)
    if threshold >= 0.5 and criterion == "iou":
        return table.unique[hit[table.unique]]
    n = max(min(table.n_gt, table.n_pred), 1)
    return np.flatnonzero(table.assignment(hit + s.astype(np.float64) / (2 * n)) & hit)


def count(pair: Pair, mode: Mode, thresholds: Sequence[float], criterion: str, **_: Any) -> Counts:
    """Count hits and sum their scores at each threshold."""
    table = pair.seen(mode).table
    s = scores(table, criterion)
    tp, total = [], []
    for t in thresholds:
        pairs = matched(table, s, t, criterion)
        tp.append(len(pairs))
        total.append(float(s[pairs].sum()))
    return {"tp": np.asarray(tp, np.int64), "sum": np.asarray(total), "n_true": table.n_gt, "n_pred": table.n_pred}


def ratios(tp: Any, total: Any, n_true: Any, n_pred: Any, nothing: float) -> dict[str, NDArray[np.float64]]:
    """Compute the ratios from counts; `nothing` where the denominator is zero."""
    tp, total = np.asarray(tp, np.float64), np.asarray(total, np.float64)
    fp, fn = n_pred - tp, n_true - tp

    def over(top: Any, bottom: Any) -> NDArray[np.float64]:
        return divided(top, bottom, nothing)

    return {
        "precision": over(tp, tp + fp),
        "recall": over(tp, tp + fn),
        "accuracy": over(tp, tp + fp + fn),
        "f1": over(2 * tp, 2 * tp + fp + fn),
        "mean_true_score": over(total, n_true),
        "mean_matched_score": over(total, tp),
        "panoptic_quality": over(total, tp + fp / 2 + fn / 2),
    }


def of_one(n: Counts, mode: Mode) -> dict[str, NDArray[np.float64]]:
    """Compute the ratios of one image, or of pooled counts."""
    return ratios(n["tp"], n["sum"], n["n_true"], n["n_pred"], 0.0 if mode == "strict" else np.nan)


def of_each(numbers: Sequence[Counts], k: int, mode: Mode) -> dict[str, NDArray[np.float64]]:
    """Compute the ratios of each image at each of k thresholds, float64 (n, k)."""
    tp, total = (np.asarray([n[key] for n in numbers]).reshape(len(numbers), k) for key in ("tp", "sum"))
    n_true, n_pred = (np.asarray([n[key] for n in numbers], np.int64)[:, None] for key in ("n_true", "n_pred"))
    return ratios(tp, total, n_true, n_pred, 0.0 if mode == "strict" else np.nan)


def value_of(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Average the accuracy of one image over the thresholds."""
    below = numbers["n_true"] + numbers["n_pred"] - numbers["tp"]
    return float(np.mean(divided(numbers["tp"], below, 0.0 if mode == "strict" else np.nan)))


def pool(numbers: Sequence[Counts], mode: Mode, thresholds: Sequence[float], criterion: str, **_: Any) -> Result:
    """Pool counts over images; `by_image` holds the means over images."""
    tp = np.sum([n["tp"] for n in numbers], axis=0) if numbers else np.zeros(len(thresholds), np.int64)
    n_true, n_pred = sum(n["n_true"] for n in numbers), sum(n["n_pred"] for n in numbers)
    total = np.zeros(len(thresholds))
    for n in numbers:
        total = total + n["sum"]
    all_counts = {
        "thresh": list(thresholds),
        "tp": tp.tolist(),
        "fp": (n_pred - tp).tolist(),
        "fn": (n_true - tp).tolist(),
    }
    all_counts |= {"n_true": n_true, "n_pred": n_pred, "criterion": criterion}
    pooled = of_one({"tp": tp, "sum": total, "n_true": n_true, "n_pred": n_pred}, mode)
    by_image = {k: nanmeans(v) for k, v in of_each(numbers, len(thresholds), mode).items()}
    fields = {**all_counts, **{k: v.tolist() for k, v in pooled.items()}, "by_image": {**all_counts, **by_image}}
    empty = sum(not n["n_true"] and not n["n_pred"] for n in numbers)
    skipped = {"images without cells on either side (means over images)": empty} if empty and mode != "strict" else {}
    value = float(np.mean(pooled["accuracy"]))
    return Result(value, {"mean accuracy": value, **fields}, skipped)


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Compute the pooled accuracy of resampled images, float64 (B,)."""
    tp = weighted_sums([n["tp"] for n in numbers], weights)
    below = weighted_sums([n["n_true"] + n["n_pred"] - n["tp"] for n in numbers], weights)
    return np.asarray(divided(tp, below).mean(axis=1), np.float64)


OPTIONS = (
    Option("thresholds", THRESHOLDS, "lowest IoU at which a pair is a hit", several=True, low=0, high=1),
    Option(
        "criterion",
        "iou",
        "what is compared with the thresholds: IoU, or the overlap over the area of the true cell (iot) or of the "
        "prediction (iop)",
        choices=("iou", "iot", "iop"),
    ),
)
METRIC = Metric("ap_stardist", CARD, count, pool, options=OPTIONS, value_of=value_of, resample=resample)
