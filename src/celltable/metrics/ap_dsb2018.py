"""The score of the 2018 Data Science Bowl: TP/(TP+FP+FN), averaged over IoU 0.50:0.05:0.95, then over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.means import divided, nanmean, nanmeans, weighted_mean

THRESHOLDS = np.arange(0.5, 1.0, 0.05)  # not the decimals: the third is 0.6000000000000001
EPS = 1e-9  # evaluation.py, added to every denominator
Counts = dict[str, Any]

CARD = Card(
    title="DSB 2018 average precision",
    quantity="mean over ten IoU thresholds of TP / (TP + FP + FN)",
    authority="2018 Data Science Bowl (Kaggle); evaluation.py of the organisers' paper",
    citation=(
        "Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, Nature Methods "
        "16 (2019), 1247-1253"
    ),
    doi="10.1038/s41592-019-0612-7",
    url="https://github.com/carpenterlab/2019_caicedo_dsb",
    formula="S(t) = TP/(TP+FP+FN); image = mean over t of S(t); score = mean over images. F1(t) = 2TP/(2TP+FP+FN)",
    matching="a prediction hits a cell if their IoU is greater than t; from t = 0.5 such pairs are unique",
    ties="an IoU of exactly t is a miss",
    averaging="mean over images, not pooled over cells; no classes, no scores",
    empty="neither side has a cell: undefined, left out and counted; one side has none: 0",
    thresholds="numpy.arange(0.5, 1.0, 0.05)",
    strict="1e-9 in every denominator (a perfect image scores 0.999999999…); an image without any cell scores 0",
    flattening="the challenge rejects overlapping masks; here they are painted into one label map, later ids on top",
    namesakes="ap_stardist counts an IoU of exactly t as a hit, and pools; ap_coco ranks by score",
)


def count(pair: Pair, mode: Mode, **_: Any) -> Counts:
    """Count hits at each threshold, and average the best IoU of each prediction."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("evaluation.py")
    iou = np.sort(table.iou[table.iou > 0.5])
    best = np.zeros(table.n_pred)
    np.maximum.at(best, table.pred_index, table.iou)
    jaccard = float(best.mean()) if table.n_pred and table.n_gt else 0.0
    hits = len(iou) - np.searchsorted(iou, THRESHOLDS, side="right")
    return {"tp": hits, "n_gt": table.n_gt, "n_pred": table.n_pred, "jaccard": jaccard}


def curves(numbers: Sequence[Counts], mode: Mode) -> tuple[NDArray[np.float64], ...]:
    """Compute S, F1, precision and recall of each image at each threshold, float64 (n, 10)."""
    tp = np.asarray([n["tp"] for n in numbers], np.int64).reshape(len(numbers), len(THRESHOLDS))
    n_gt, n_pred = (np.asarray([n[key] for n in numbers], np.int64)[:, None] for key in ("n_gt", "n_pred"))
    fp, fn = n_pred - tp, n_gt - tp
    eps = EPS if mode == "strict" else 0.0
    pairs = ((tp, tp + fp + fn), (2 * tp, 2 * tp + fp + fn), (tp, tp + fp), (tp, tp + fn))
    nothing = 0.0 if mode == "strict" else np.nan
    return tuple(divided(x, y + eps, nothing) for x, y in pairs)


def scores(numbers: Sequence[Counts], mode: Mode) -> NDArray[np.float64]:
    """Score each image, float64 (n,)."""
    return np.asarray(curves(numbers, mode)[0].mean(axis=1), np.float64)


def value_of(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Score one image."""
    return float(scores([numbers], mode)[0])


def pool(numbers: Sequence[Counts], mode: Mode, **_: Any) -> Result:
    """Average over images; the fields include the curves over the thresholds."""
    each = curves(numbers, mode)
    images = each[0].mean(axis=1)
    tp = np.sum([n["tp"] for n in numbers], axis=0) if numbers else np.zeros(len(THRESHOLDS), np.int64)
    n_pred, n_gt = sum(n["n_pred"] for n in numbers), sum(n["n_gt"] for n in numbers)
    names = ("Official_Score", "F1", "Precision", "Recall")
    table = {name: nanmeans(curve) for name, curve in zip(names, each, strict=True)}
    value = float(np.mean(images)) if mode == "strict" and numbers else nanmean(images)
    fields = {
        "mean_official_score": value,
        "mean_F1": nanmean(each[1].mean(axis=1)),
        "Jaccard": nanmean([n["jaccard"] for n in numbers]),
        "Threshold": THRESHOLDS.tolist(),
        **table,
        "TP": tp.tolist(),
        "FP": (n_pred - tp).tolist(),
        "FN": (n_gt - tp).tolist(),
    }
    empty = int(np.isnan(images).sum())
    return Result(value, fields, {"images without cells on either side": empty} if empty else {})


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Score resampled images, float64 (B,)."""
    return weighted_mean(scores(numbers, mode), weights)


METRIC = Metric("ap_dsb2018", CARD, count, pool, value_of=value_of, resample=resample)
