"""Panoptic quality of the MoNuSAC 2020 challenge: per image and class, without the pixels of ambiguous regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.errors import MetricError
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.means import nanmean, weighted_mean
from celltable.scoring.pair_table import PairTable

Counts = dict[str, Any]

CARD = Card(
    title="MoNuSAC panoptic quality",
    quantity="PQ of each class that an image has, mean over the classes of an image, then over images",
    authority="MoNuSAC 2020 challenge, PQ_metric.ipynb",
    citation=(
        "Verma et al., MoNuSAC2020: a multi-organ nuclei segmentation and classification challenge, IEEE TMI 40 "
        "(2021), 3413-3423"
    ),
    doi="10.1109/TMI.2021.3085712",
    url="https://github.com/ruchikaverma-iitg/MoNuSAC",
    formula="PQ = sum of IoU / (TP + FP/2 + FN/2)",
    matching="IoU > 0.5 (unique pairs), within a class",
    ties="an IoU of exactly 0.5 is a miss",
    averaging=(
        "the notebook writes one number per image and class; celltable takes the mean over classes, then over images"
    ),
    empty="a class without ground truth in an image is left out; one without predictions scores 0",
    regions="pixels of predictions in regions marked ignore or crowd (Ambiguous) are removed before matching",
    strict="0/0 raises. The official code does not count the first cell of a prediction without background as a false "
    "positive: strict mode refuses such a prediction if that changes the score",
    namesakes="the other PQ variants divide by TP+1e-6 in SQ; this one does not add a constant",
)


def _without_regions(pair: Pair) -> tuple[Pair, NDArray[np.int64]]:
    """Drop the regions of the pair; also return how many pixels of each prediction are in them."""
    regions = pair.gt.flags
    table = pair.overlap
    if not regions.any():
        return pair, np.zeros(len(table.pred_areas), np.int64)
    on = np.bincount(
        table.pred_index, weights=table.intersection * regions[table.gt_index], minlength=len(table.pred_areas)
    )
    return pair.kept(~regions, np.ones(len(on), bool)), on.astype(np.int64)


def _quality(table: PairTable, mode: Mode) -> float:
    pairs = table.over(0.5)
    tp = len(pairs)
    below = tp + 0.5 * (table.n_pred - tp) + 0.5 * (table.n_gt - tp)
    if mode == "strict":
        full = table.n_pred and int(table.pred_areas.sum()) == table.n_pixels
        if full and 0 not in table.pred_index[pairs]:
            table.need_background("PQ_metric.ipynb", gt=False)
        if not below:
            raise MetricError(
                f"image {table.image_id} has no cell on either side, so PQ_metric.ipynb divides by zero; use "
                "corrected mode"
            )
    total = float(np.cumsum(table.iou[pairs])[-1]) if tp else 0.0  # added one by one, as in the notebook
    return total / below if below else float("nan")


def _cut(table: PairTable, ids: NDArray[np.int64], on_region: NDArray[np.int64]) -> PairTable:
    """Reduce the predictions to their pixels outside the regions; drop those without any."""
    if not on_region.any():
        return table
    order = np.argsort(ids, kind="stable")
    left = table.pred_areas - on_region[order[np.searchsorted(ids[order], table.pred_ids)]]
    kept = left > 0
    return replace(table.kept(np.ones(table.n_gt, bool), kept), pred_areas=left[kept])


def count(pair: Pair, mode: Mode, **_: Any) -> Counts:
    """Compute the PQ of all cells and of each class of one image."""
    clean, on_region = _without_regions(pair)
    table = _cut(clean.table, clean.pred.ids, on_region)
    names = clean.class_names if clean.has_classes else ()
    tables = _cut(clean.class_table, clean.pred.ids, on_region).by_class(len(names)) if names else []
    each = [_quality(t, mode) if t.n_gt else float("nan") for t in tables]
    whole = _quality(table, mode) if table.n_gt or table.n_pred or mode == "strict" else float("nan")
    return {"pq": whole, "classes": each, "names": names}


def value_of(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Average over the classes of one image; without classes, return the PQ of all cells."""
    return nanmean(numbers["classes"]) if numbers["names"] else float(numbers["pq"])


def pool(numbers: Sequence[Counts], mode: Mode, **_: Any) -> Result:
    """Average over images."""
    names = next((n["names"] for n in numbers if n["names"]), ())
    values = [value_of(n, mode) for n in numbers]
    fields: dict[str, Any] = {"PQ": nanmean(values), "PQ of all cells": nanmean([n["pq"] for n in numbers])}
    for k, name in enumerate(names):
        fields[f"{name} PQ"] = nanmean([n["classes"][k] for n in numbers if n["classes"]])
    empty = int(np.isnan(values).sum()) if values else 0
    return Result(fields["PQ"], fields, {"images without a ground-truth cell of any class": empty} if empty else {})


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Average over resampled images, float64 (B,)."""
    return weighted_mean([value_of(n, mode) for n in numbers], weights)


METRIC = Metric("pq_monusac", CARD, count, pool, value_of=value_of, resample=resample)
