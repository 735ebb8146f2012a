"""Numbers of split, merged, missed, spurious and loosely outlined cells; needs no scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair

TOUCH, TIGHT = 0.1, 0.5  # IoU: evaluation.py counts merges and splits over 0.1
KINDS = ("Splits", "Merges", "Missed", "Spurious", "Loose")

CARD = Card(
    title="Segmentation errors by type",
    quantity="share of ground-truth cells that are split, merged, missed or loose; spurious predictions per cell",
    authority="2018 Data Science Bowl organisers (splits and merges, IoU > 0.1); the other three follow the same rule",
    citation=(
        "Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, Nature Methods "
        "16 (2019), 1247-1253"
    ),
    doi="10.1038/s41592-019-0612-7",
    url="https://github.com/carpenterlab/2019_caicedo_dsb",
    formula=(
        "a pair touches if IoU > 0.1. Splits: cells touched by more than one prediction. Merges: predictions that "
        "touch more than one cell. Missed: cells that no prediction touches. Spurious: predictions that touch no "
        "cell. Loose: pairs that touch only each other, with an IoU of 0.5 or less"
    ),
    matching="none: every pair of IoU > 0.1",
    ties="an IoU of exactly 0.1 does not touch",
    averaging="summed over images; the headline is all errors / ground-truth cells",
    empty="no ground-truth cells at all: NaN",
    thresholds="IoU 0.1 and 0.5 (options touch, tight)",
    strict="the official code drops the first cell of a map without background: strict mode refuses such a map",
    namesakes="tide weights errors by their cost in AP, and needs scores",
)


def count(pair: Pair, mode: Mode, touch: float, tight: float, **_: Any) -> dict[str, int]:
    """Count the errors of each type in one image."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("evaluation.py")
    near = table.iou > touch
    per_gt = np.bincount(table.gt_index[near], minlength=table.n_gt)
    per_pred = np.bincount(table.pred_index[near], minlength=table.n_pred)
    alone = near & (table.iou <= tight)
    alone[alone] = (per_gt[table.gt_index[alone]] == 1) & (per_pred[table.pred_index[alone]] == 1)
    numbers = ((per_gt > 1).sum(), (per_pred > 1).sum(), (per_gt == 0).sum(), (per_pred == 0).sum(), alone.sum())
    return {**{k: int(v) for k, v in zip(KINDS, numbers, strict=True)}, "n_gt": table.n_gt, "n_pred": table.n_pred}


def pool(numbers: Sequence[dict[str, int]], mode: Mode, **_: Any) -> Result:
    """Sum over images."""
    total = {k: sum(n[k] for n in numbers) for k in (*KINDS, "n_gt", "n_pred")}
    errors = sum(total[k] for k in KINDS)
    value = errors / total["n_gt"] if total["n_gt"] else float("nan")
    return Result(value, {"errors per cell": value, **total})


OPTIONS = (
    Option("touch", TOUCH, "IoU above which a pair touches", low=0, high=1, at_most="tight"),
    Option("tight", TIGHT, "IoU up to which a pair that touches only each other is loose", low=0, high=1),
)
METRIC = Metric("errors_caicedo", CARD, count, pool, options=OPTIONS, better="lower")
