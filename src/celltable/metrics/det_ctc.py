"""DET of the Cell Tracking Challenge: the cost of correcting the detections by splits, additions and deletions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.means import divided, weighted_sums

SPLIT, MISSED, SPURIOUS = 5, 10, 1  # weights of AOGM-D, Matula et al. 2015
Counts = dict[str, int]

CARD = Card(
    title="CTC detection accuracy (DET)",
    quantity="1 - cost of correcting the detections / cost of adding them all by hand",
    authority="Cell Tracking Challenge; py-ctcmetrics",
    citation=(
        "Matula et al., Cell tracking accuracy measurement based on comparison of acyclic oriented graphs, PLoS ONE "
        "10 (2015), e0144959"
    ),
    doi="10.1371/journal.pone.0144959",
    url="https://github.com/CellTrackingChallenge/py-ctcmetrics",
    formula="DET = 1 - min(5 NS + 10 FN + FP, 10 n) / (10 n), n reference cells",
    matching="R and S match if they share more than half of R; an S that matches k > 1 cells needs k - 1 splits (NS)",
    ties="exactly half is not a match",
    averaging="pooled over the cells of all images",
    empty="no reference cells at all: NaN",
    strict="the official code drops the first label of a map without background: strict mode refuses such a map",
    namesakes="TRA adds the cost of links, which label maps of single images do not have",
)


def count(pair: Pair, mode: Mode, **_: Any) -> Counts:
    """Count splits, missed and spurious cells of one image."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("py-ctcmetrics")
    matched = table.intersection / table.gt_areas[table.gt_index] > 0.5
    served = np.bincount(table.pred_index[matched], minlength=table.n_pred)
    tp = int(matched.sum())
    used = int((served > 0).sum())
    return {"NS": tp - used, "FN": table.n_gt - tp, "FP": table.n_pred - used, "n_ref": table.n_gt}


def det(ns: Any, fn: Any, fp: Any, n_ref: Any) -> NDArray[np.float64]:
    """Compute DET from counts; NaN without reference cells."""
    whole = MISSED * np.asarray(n_ref, np.float64)
    cost = np.minimum(SPLIT * np.asarray(ns) + MISSED * np.asarray(fn) + SPURIOUS * np.asarray(fp), whole)
    return 1 - divided(cost, whole)


def pool(numbers: Sequence[Counts], mode: Mode, **_: Any) -> Result:
    """Compute DET over all images."""
    total = {key: sum(n[key] for n in numbers) for key in ("NS", "FN", "FP", "n_ref")}
    value = float(det(*total.values()))
    return Result(value, {"DET": value, **total})


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Compute DET of resampled images, float64 (B,)."""
    return det(*weighted_sums([(n["NS"], n["FN"], n["FP"], n["n_ref"]) for n in numbers], weights).T)


METRIC = Metric("det_ctc", CARD, count, pool, resample=resample)
