"""Panoptic quality of the CoNIC challenge: counts pooled over all images per class (mPQ+), and R2 of the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.counts import r2_score
from celltable.scoring.means import divided, nanmean, weighted_mean, weighted_sums
from celltable.scoring.panoptic import Counts as Matches
from celltable.scoring.panoptic import counts, counts_by_class, quality

DQ_EPS = 1e-6  # stats_utils.get_pq
Counts = dict[str, Any]

CARD = Card(
    title="CoNIC panoptic quality (mPQ+) and R2",
    quantity="PQ per class from counts summed over all images, mean over classes",
    authority="CoNIC challenge 2022, metrics/stats_utils.py",
    citation=(
        "Graham et al., CoNIC challenge: pushing the frontiers of nuclear detection, Medical Image Analysis 92 "
        "(2024), 103047"
    ),
    doi="10.1016/j.media.2023.103047",
    url="https://github.com/TissueImageAnalytics/CoNIC",
    formula=(
        "DQ = TP/(TP+FP/2+FN/2+1e-6), SQ = sum of IoU/(TP+1e-6); mPQ+ = mean over classes of DQ x SQ; R2 of counts per"
        " image"
    ),
    matching="IoU > 0.5 (unique pairs), within a class; binary: of all cells",
    ties="an IoU of exactly 0.5 is a miss",
    averaging=(
        "mPQ+: TP, FP, FN and sum of IoU are summed over images first; binary PQ: mean over images; R2: mean over "
        "classes"
    ),
    empty=(
        "corrected: a class that occurs nowhere is left out, and the binary PQ leaves out images without cells; "
        "strict: each counts as 0"
    ),
    strict="an absent class and an empty image count as 0",
    namesakes="pq_pannuke averages the PQ of single images instead of pooling counts",
)


def count(pair: Pair, mode: Mode, **_: Any) -> Counts:
    """Count TP, FP and FN and sum IoU, for all cells and for each class of one image."""
    seen = pair.seen(mode)
    table = seen.table
    if mode == "strict":
        table.need_background("CoNIC's get_pq")
    names = seen.class_names if seen.has_classes else ()
    by_class = counts_by_class(seen.class_table, len(names)) if names else []
    each = [(n.tp, n.fp, n.fn, n.iou) for n in by_class]
    return {"binary": counts(table), "classes": each, "names": names}


def value_of(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Compute the mPQ+ of one image, or its binary PQ if there are no classes."""
    return pool([numbers], mode).value


def _class_pq(total: NDArray[np.float64], mode: Mode) -> NDArray[np.float64]:
    tp, fp, fn, iou = np.moveaxis(total, -1, 0)
    pq = tp / ((tp + 0.5 * fp + 0.5 * fn) + DQ_EPS) * (iou / (tp + 1e-6))
    return pq if mode == "strict" else np.where(tp + fp + fn > 0, pq, np.nan)


def _binary(n: Matches, mode: Mode) -> tuple[float, float, float]:
    return quality(n, DQ_EPS) if mode == "strict" or n.tp + n.fp + n.fn else (float("nan"),) * 3


def pool(numbers: Sequence[Counts], mode: Mode, **_: Any) -> Result:
    """Compute mPQ+, the PQ of each class, binary PQ, and R2 of the counts."""
    names = next((n["names"] for n in numbers if n["names"]), ())
    images = [_binary(n["binary"], mode) for n in numbers]
    fields: dict[str, Any] = {}
    skipped: dict[str, int] = {}
    if names:
        rows = np.asarray([n["classes"] for n in numbers if n["classes"]], np.float64).reshape(-1, len(names), 4)
        total = np.sum(rows, axis=0)
        pq = _class_pq(total, mode)
        r2 = [r2_score(rows[:, k, 0] + rows[:, k, 2], rows[:, k, 0] + rows[:, k, 1]) for k in range(len(names))]
        fields |= {"mPQ+": float(np.mean(pq)) if mode == "strict" else nanmean(pq)}
        fields |= {"R2": float(np.mean(r2)) if mode == "strict" else nanmean(r2)}
        for k, name in enumerate(names):
            fields[f"{name} PQ"] = float(pq[k])
            fields[f"{name} R2"] = r2[k]
            fields |= {f"{name} {key}": int(total[k, j]) for j, key in enumerate(("TP", "FP", "FN"))}
        absent = int(np.isnan(pq).sum())
        skipped |= {"classes that occur nowhere": absent} if absent else {}
    for k, key in ((2, "pq"), (0, "dq"), (1, "sq")):
        fields[key] = nanmean([q[k] for q in images])
    empty = int(np.isnan([q[2] for q in images]).sum()) if images else 0
    skipped |= {"images without cells on either side (binary PQ)": empty} if empty else {}
    return Result(fields["mPQ+" if names else "pq"], fields, skipped)


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Score resampled images, float64 (B,)."""
    names = next((n["names"] for n in numbers if n["names"]), ())
    if not names:
        return weighted_mean([_binary(n["binary"], mode)[2] for n in numbers], weights)
    flat = [np.ravel(n["classes"] or np.zeros((len(names), 4))) for n in numbers]
    pq = _class_pq(weighted_sums(flat, weights).reshape(len(weights), len(names), 4), mode)
    return divided(np.nansum(pq, axis=1), (~np.isnan(pq)).sum(axis=1))


METRIC = Metric("pq_conic", CARD, count, pool, value_of=value_of, resample=resample)
