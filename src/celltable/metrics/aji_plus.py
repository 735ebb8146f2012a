"""AJI+, the aggregated Jaccard index with a one-to-one pairing, so that no prediction is counted twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from celltable.plugins.metric import Card, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.means import MeanOverImages, ratio

EPS = 1e-6  # added to every union before dividing: stats_utils.get_fast_aji_plus

CARD = Card(
    title="AJI+",
    quantity="shared pixels / union pixels of cells paired one to one, plus unmatched cells in the union",
    authority="HoVer-Net, get_fast_aji_plus",
    citation=(
        "Graham et al., HoVer-Net: simultaneous segmentation and classification of nuclei, Medical Image Analysis 58 "
        "(2019), 101563"
    ),
    doi="10.1016/j.media.2019.101563",
    url="https://github.com/vqdang/hover_net",
    formula="sum of intersections / (sum of unions of pairs + area of all unpaired cells of both sides)",
    matching=(
        "the one-to-one assignment with the largest sum of intersection/(union+1e-6); pairs without overlap are dropped"
    ),
    ties="any of the assignments with the same sum",
    averaging="mean over images",
    empty="neither side has a cell: NaN; strict: the mean becomes NaN; corrected: left out and counted",
    strict="a single NaN makes the mean NaN",
    namesakes="aji_kumar2017 lets several cells use one prediction, and differs where cells are merged",
)


def count(pair: Pair, mode: Mode, **_: Any) -> dict[str, float]:
    """Compute the index of one image."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("get_fast_aji_plus")
    paired = table.assignment(table.intersection / (table.union + EPS))
    alone, unpicked = np.ones(table.n_gt, bool), np.ones(table.n_pred, bool)
    alone[table.gt_index[paired]] = False
    unpicked[table.pred_index[paired]] = False
    total = table.union[paired].sum() + table.gt_areas[alone].sum() + table.pred_areas[unpicked].sum()
    return {"aji_plus": ratio(int(table.intersection[paired].sum()), int(total))}


MEAN = MeanOverImages("aji_plus")
METRIC = Metric("aji_plus", CARD, count, MEAN.pool, value_of=MEAN.value_of, resample=MEAN.resample)
