"""The aggregated Jaccard index of MoNuSeg: each cell takes the prediction with the best IoU, which may be reused."""

from __future__ import annotations

from typing import Any

import numpy as np

from celltable.errors import MetricError
from celltable.plugins.metric import Card, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.means import MeanOverImages, ratio

EPS = 1e-6  # added to every union before dividing: stats_utils.get_fast_aji

CARD = Card(
    title="Aggregated Jaccard index (AJI)",
    quantity="shared pixels / union pixels of each cell and its best prediction, plus unmatched cells in the union",
    authority="Kumar et al. 2017, as HoVer-Net's get_fast_aji computes it",
    citation=(
        "Kumar et al., A dataset and a technique for generalized nuclear segmentation, IEEE TMI 36 (2017), 1550-1560"
    ),
    doi="10.1109/TMI.2017.2677499",
    url="https://github.com/vqdang/hover_net",
    formula="sum of intersections / (sum of unions + area of cells without overlap + area of predictions never picked)",
    matching="each cell picks the prediction with the largest IoU; a prediction may be picked several times",
    ties="equal IoU: the prediction with the lowest id",
    averaging="mean over images",
    empty="neither side has a cell: undefined, left out and counted; only one side has cells: 0",
    strict="the official code fails on an image without predicted cells: strict mode raises",
    namesakes="aji_plus pairs one to one; aji_cellpose divides by the foreground of the image",
)


def count(pair: Pair, mode: Mode, **_: Any) -> dict[str, float]:
    """Compute the index of one image."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("get_fast_aji")
        if not table.n_pred:
            raise MetricError(
                f"image {table.image_id} has no predicted cell, which the official AJI fails on; use corrected mode"
            )
    if not len(table.gt_index):
        return {"aji": ratio(0, int(table.gt_areas.sum() + table.pred_areas.sum()))}
    quotient = table.intersection / (table.union + EPS)
    first = np.flatnonzero(np.r_[True, table.gt_index[1:] != table.gt_index[:-1]])
    top = np.repeat(np.maximum.reduceat(quotient, first), np.diff(np.r_[first, len(quotient)]))
    candidates = np.flatnonzero(quotient == top)
    picked = candidates[np.r_[True, table.gt_index[candidates[1:]] != table.gt_index[candidates[:-1]]]]
    alone, unpicked = np.ones(table.n_gt, bool), np.ones(table.n_pred, bool)
    alone[table.gt_index[picked]] = False
    unpicked[table.pred_index[picked]] = False
    total = table.union[picked].sum() + table.gt_areas[alone].sum() + table.pred_areas[unpicked].sum()
    return {"aji": float(table.intersection[picked].sum() / total)}


MEAN = MeanOverImages("aji")
METRIC = Metric("aji_kumar2017", CARD, count, MEAN.pool, value_of=MEAN.value_of, resample=MEAN.resample)
