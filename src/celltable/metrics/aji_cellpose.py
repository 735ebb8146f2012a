"""The aggregated Jaccard index as cellpose computes it: shared pixels of matched cells over all foreground pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from celltable.plugins.metric import Card, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.means import MeanOverImages, ratio

CARD = Card(
    title="Cellpose aggregated Jaccard index",
    quantity="shared pixels of matched cells / pixels of either foreground, mean over images",
    authority="cellpose.metrics.aggregated_jaccard_index",
    citation=(
        "Stringer et al., Cellpose: a generalist algorithm for cellular segmentation, Nature Methods 18 (2021), 100-106"
    ),
    doi="10.1038/s41592-020-01018-x",
    url="https://github.com/MouseLand/cellpose",
    formula="sum of shared pixels of matched pairs / |ground-truth foreground or predicted foreground|",
    matching="one to one: as many pairs of IoU >= 0.5 as possible, then the largest sum of IoU; any IoU counts",
    ties="an IoU of exactly 0.5 counts as >= 0.5",
    averaging="mean over images",
    empty="neither side has a cell: NaN; strict: the mean becomes NaN; corrected: left out and counted",
    strict="a single NaN makes the mean NaN",
    namesakes="aji_kumar2017 pairs by the best IoU, lets predictions be reused and sums unions of pairs",
)


def count(pair: Pair, mode: Mode, **_: Any) -> dict[str, float]:
    """Compute the index of one image."""
    table = pair.seen(mode).table
    gt, pred, both = table.foreground
    n = max(min(table.n_gt, table.n_pred), 1)
    matched = table.assignment((table.iou >= 0.5) + table.iou / (2 * n))
    return {"aji": ratio(int(np.sum(table.intersection[matched])), gt + pred - both)}


MEAN = MeanOverImages("aji")
METRIC = Metric("aji_cellpose", CARD, count, MEAN.pool, value_of=MEAN.value_of, resample=MEAN.resample)
