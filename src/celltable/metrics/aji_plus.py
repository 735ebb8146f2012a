"""AJI+, the aggregated Jaccard index with a one-to-one pairing, so that no prediction is counted twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from celltable.plugins.metric import Card, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.means import MeanOverImages, ratio

EPS = 1e-6  # added to every union before the quotient: stats_utils.get_fast_aji_plus

CARD = Card(
    title="AJI+",
    quantity="shared pixels / union pixels of cells paired one to one, unmatched cells in the union",
    authority="HoVer-Net, get_fast_aji_plus",
    citation=(
        "Graham et al., HoVer-Net: simultaneous segmentation and classification of nuclei, Medical Image Analysis 58 "
        "(2019), 101563"
    ),
    doi="10.1016/j.media.2019.101563",
    url="https://github.com/vqdang/hover_net",
    formula="sum of c / (sum of u of pairs + area of all unpaired cells of either side)",
    matching="the one-to-one assignment with the largest sum of c/(u+1e-6); pairs without overlap are dropped",
    ties="of assignments with the same sum any may be taken",
    averaging="mean over images",
    empty="neither side has a cell: NaN; strict: it makes the mean NaN; corrected: left out and counted",
    strict="NaN carried into the mean",
    namesakes="aji_kumar2017 lets one prediction serve several cells, and so is lower where cells are merged",
)


def count(pair: Pair, mode: Mode, **_: Any) -> dict[str, float]:
    """The index of one image."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("get_fast_aji_plus")
    paired = table.assignment(table.intersection / (table.union + EPS))
    alone, unpicked = np.ones(table.n_gt, bool), np.ones(table.n_pred, bool)
    alone[table.gt_index[paired]] = False
    unpicked[table.pred_index[paired]] = False
    below = table.union[paired].sum() + table.gt_areas[alone].sum() + table.pred_areas[unpicked].sum()
    return {"aji_plus": ratio(int(table.intersection[paired].sum()), int(below))}


MEAN = MeanOverImages("aji_plus")
METRIC = Metric("aji_plus", CARD, count, MEAN.pool, value_of=MEAN.value_of, resample=MEAN.resample)
