"""Average precision as computed by cellpose: TP/(TP+FP+FN) per image and threshold, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.means import nanmean, weighted_mean
from celltable.scoring.pair_table import PairTable

THRESHOLDS = (0.5, 0.75, 0.9)
Counts = dict[str, Any]

CARD = Card(
    title="Cellpose average precision",
    quantity="TP / (TP + FP + FN) at IoU 0.5 (also 0.75 and 0.9), mean over images",
    authority="cellpose.metrics.average_precision",
    citation=(
        "Stringer et al., Cellpose: a generalist algorithm for cellular segmentation, Nature Methods 18 (2021), 100-106"
    ),
    doi="10.1038/s41592-020-01018-x",
    url="https://github.com/MouseLand/cellpose",
    formula="ap = TP/(TP+FP+FN) per image and threshold, float32",
    matching="one to one, as many pairs of IoU >= t as possible",
    ties="an IoU of exactly t, both as float64, is a hit",
    averaging="mean over images at each threshold; the headline is the first threshold",
    empty="neither side has a cell: NaN; strict: the mean becomes NaN; corrected: left out and counted",
    thresholds="0.5, 0.75, 0.9 (option thresholds)",
    strict="float32; a single NaN makes the mean NaN. The official code drops a cell of a map without background (AP "
    "can reach 2): strict mode refuses such a map",
    namesakes="ap_stardist compares float32 and pools; ap_dsb2018 counts an IoU of exactly t as a miss",
)


def hits(table: PairTable, thresholds: Sequence[float]) -> NDArray[np.int64]:
    """Count the pairs of the largest matching at each threshold."""
    best = np.sort(table.iou[table.unique])
    tp = []
    for t in thresholds:
        if t >= 0.5:
            tp.append(len(best) - int(np.searchsorted(best, t, side="left")))
        else:
            tp.append(int(table.assignment((table.iou >= t).astype(np.float64)).sum()))
    return np.asarray(tp, np.int64)


def count(pair: Pair, mode: Mode, thresholds: Sequence[float], **_: Any) -> Counts:
    """Count hits at each threshold."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("cellpose")
    return {"tp": hits(table, thresholds), "n_gt": table.n_gt, "n_pred": table.n_pred}


def of_one(numbers: Counts) -> NDArray[np.float32]:
    """Compute ap of one image at each threshold, float32."""
    tp = numbers["tp"].astype(np.float32)
    below = tp + (numbers["n_pred"] - tp) + (numbers["n_gt"] - tp)
    ap = np.full(len(tp), np.nan, np.float32)
    np.divide(tp, below, out=ap, where=below > 0)
    return ap


def value_of(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Return ap of one image at the first threshold."""
    return float(of_one(numbers)[0])


def pool(numbers: Sequence[Counts], mode: Mode, thresholds: Sequence[float], **_: Any) -> Result:
    """Tabulate image × threshold and average over images."""
    tp = np.asarray([n["tp"] for n in numbers], np.float32).reshape(len(numbers), len(thresholds))
    fp = np.asarray([n["n_pred"] for n in numbers], np.float32)[:, None] - tp
    fn = np.asarray([n["n_gt"] for n in numbers], np.float32)[:, None] - tp
    ap = np.asarray([of_one(n) for n in numbers], np.float32).reshape(tp.shape)
    if mode == "strict":
        means = [float(m) for m in np.mean(ap, axis=0)] if len(ap) else [float("nan")] * len(thresholds)
    else:
        means = [nanmean(column) for column in ap.T]
    fields: dict[str, Any] = {f"ap@{t:g}": m for t, m in zip(thresholds, means, strict=True)}
    fields |= {
        "threshold": list(thresholds),
        "ap": ap.tolist(),
        "tp": tp.tolist(),
        "fp": fp.tolist(),
        "fn": fn.tolist(),
    }
    empty = int(np.isnan(ap[:, 0]).sum()) if len(ap) else 0
    skipped = {"images without cells on either side": empty} if empty and mode != "strict" else {}
    return Result(means[0], fields, skipped)


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Average over resampled images at the first threshold, float64 (B,)."""
    return weighted_mean([float(of_one(n)[0]) for n in numbers], weights, skip=mode != "strict")


OPTIONS = (Option("thresholds", THRESHOLDS, "lowest IoU at which a pair is a hit", several=True, low=0, high=1),)
METRIC = Metric("ap_cellpose", CARD, count, pool, options=OPTIONS, value_of=value_of, resample=resample)
