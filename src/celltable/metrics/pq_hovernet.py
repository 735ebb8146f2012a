"""Panoptic quality as printed by HoVer-Net's compute_stats: class-agnostic, mean over images."""

from __future__ import annotations

from typing import Any

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.means import MeanOverImages
from celltable.scoring.panoptic import counts, quality, refuse_empty

CARD = Card(
    title="HoVer-Net panoptic quality",
    quantity="PQ = DQ x SQ of all cells as one class, mean over images",
    authority="HoVer-Net, get_fast_pq and run_nuclei_inst_stat",
    citation=(
        "Graham et al., HoVer-Net: simultaneous segmentation and classification of nuclei, Medical Image Analysis 58 "
        "(2019), 101563"
    ),
    doi="10.1016/j.media.2019.101563",
    url="https://github.com/vqdang/hover_net",
    formula="DQ = TP/(TP+FP/2+FN/2), SQ = sum of IoU/(TP+1e-6), PQ = DQ x SQ",
    matching="IoU > 0.5 (unique pairs); below 0.5: the assignment with the largest sum of IoU, then IoU > threshold",
    ties="an IoU of exactly the threshold is a miss",
    averaging="DQ, SQ and PQ: each its own mean over images",
    empty="neither side has a cell: undefined, left out and counted; one side has none: 0",
    thresholds="IoU 0.5 (option match_iou)",
    strict="the official code divides by zero on an image without cells: strict mode raises",
    namesakes=(
        "pq_conic pools counts over images, pq_pannuke averages over tissues, pq_cellvit adds 1e-6 to the denominator "
        "of DQ"
    ),
)


def count(pair: Pair, mode: Mode, match_iou: float, **_: Any) -> dict[str, float]:
    """Compute DQ, SQ and PQ of one image."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("get_fast_pq")
        refuse_empty(table, "get_fast_pq")
    return dict(zip(("dq", "sq", "pq"), quality(counts(table, match_iou)), strict=True))


MEAN = MeanOverImages("pq")
METRIC = Metric(
    "pq_hovernet",
    CARD,
    count,
    MEAN.pool,
    options=(Option("match_iou", 0.5, "IoU above which a pair matches", low=0, high=1),),
    value_of=MEAN.value_of,
    resample=MEAN.resample,
)
