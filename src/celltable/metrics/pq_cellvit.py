"""Panoptic quality as printed by CellViT's inference: PanNuke's, but with 1e-6 in DQ, and averaged over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.means import nanmean, weighted_mean
from celltable.scoring.panoptic import counts, counts_by_class, quality

DQ_EPS = 1e-6  # metrics.get_fast_pq
Counts = dict[str, Any]

CARD = Card(
    title="CellViT panoptic quality (mPQ, bPQ)",
    quantity="PQ, mean over the classes of an image, then over images; bPQ with all cells as one class",
    authority="CellViT, inference_cellvit_experiment_pannuke.py",
    citation=(
        "Hoerst et al., CellViT: vision transformers for precise cell segmentation, Medical Image Analysis 94 "
        "(2024), 103143"
    ),
    doi="10.1016/j.media.2024.103143",
    url="https://github.com/TIO-IKIM/CellViT",
    formula="DQ = TP/(TP+FP/2+FN/2+1e-6), SQ = sum of IoU/(TP+1e-6), PQ = DQ x SQ",
    matching="IoU > 0.5 (unique pairs), within a class (mPQ) or of all cells (bPQ)",
    ties="an IoU of exactly 0.5 is a miss",
    averaging="means over images (not over tissues); tissues are reported as well",
    empty="an image, or a class of an image, without ground truth is left out",
    strict="the ground truth must have a background pixel; the prediction need not",
    namesakes="pq_pannuke averages over tissues without 1e-6 in DQ; published PanNuke results are pq_pannuke",
)


def count(pair: Pair, mode: Mode, match_iou: float, **_: Any) -> Counts:
    """Compute DQ, SQ and PQ of all cells and of each class of one image."""
    seen = pair.seen(mode)
    table = seen.table
    if mode == "strict":
        table.need_background("CellViT", pred=False)
    nothing = (float("nan"),) * 3
    binary = quality(counts(table, match_iou), DQ_EPS) if table.n_gt else nothing
    names = seen.class_names if seen.has_classes else ()
    # per class, the script swaps prediction and ground truth, which changes the order of the sum
    by_class = counts_by_class(seen.class_table, len(names), match_iou, by_prediction=True) if names else []
    each = [quality(n, DQ_EPS) if n.n_gt else nothing for n in by_class]
    return {"binary": binary, "classes": each, "names": names, "tissue": pair.meta.get("tissue"), "n_gt": table.n_gt}


def value_of(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Return mPQ of one image, or bPQ without classes."""
    if not numbers["names"]:
        return float(numbers["binary"][2])
    return nanmean([q[2] for q in numbers["classes"]])


def pool(numbers: Sequence[Counts], mode: Mode, **_: Any) -> Result:
    """Average over images: overall, per class and per tissue."""
    names = next((n["names"] for n in numbers if n["names"]), ())
    fields: dict[str, Any] = {}
    if names:
        for k, key in ((2, "mPQ"), (0, "mDQ"), (1, "mSQ")):
            fields[key] = nanmean([nanmean([q[k] for q in n["classes"]]) for n in numbers])
    for k, key in ((2, "bPQ"), (0, "bDQ"), (1, "bSQ")):
        fields[key] = nanmean([n["binary"][k] for n in numbers])
    for c, name in enumerate(names):
        for k, key in ((2, "PQ"), (0, "DQ"), (1, "SQ")):
            fields[f"{name} {key}"] = nanmean([n["classes"][c][k] for n in numbers if n["classes"]])
    for tissue in sorted({str(n["tissue"]) for n in numbers if n["tissue"] is not None}):
        inside = [n for n in numbers if n["tissue"] == tissue]
        if names:
            fields[f"{tissue} mPQ"] = nanmean([nanmean([q[2] for q in n["classes"]]) for n in inside])
        fields[f"{tissue} bPQ"] = nanmean([n["binary"][2] for n in inside])
    empty = sum(not n["n_gt"] for n in numbers)
    skipped = {"images without a ground-truth cell": empty} if empty else {}
    return Result(fields["mPQ" if names else "bPQ"], fields, skipped)


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Average over resampled images, float64 (B,)."""
    return weighted_mean([value_of(n, mode) for n in numbers], weights)


OPTIONS = (Option("match_iou", 0.5, "IoU above which a pair matches", low=0, high=1),)
METRIC = Metric("pq_cellvit", CARD, count, pool, options=OPTIONS, value_of=value_of, resample=resample)
