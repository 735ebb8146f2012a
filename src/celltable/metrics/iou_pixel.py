"""The intersection over union of the two foregrounds (the Jaccard index of the binary masks)."""

from __future__ import annotations

from typing import Any

from celltable.plugins.metric import Card, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.means import MeanOverImages, ratio

CARD = Card(
    title="Pixel IoU",
    quantity="|A and B| / |A or B| of the foregrounds, mean over images",
    authority="Jaccard 1912",
    citation="Jaccard, The distribution of the flora in the alpine zone, New Phytologist 11 (1912), 37-50",
    doi="10.1111/j.1469-8137.1912.tb05611.x",
    formula="|A and B| / |A or B|",
    matching="none: pixels only",
    ties="none",
    averaging="mean over images",
    empty="neither side has a cell: NaN; strict: the mean becomes NaN; corrected: left out and counted",
    strict="a single NaN makes the mean NaN",
    namesakes="AJI and PQ take the IoU of single cells",
)


def count(pair: Pair, mode: Mode, **_: Any) -> dict[str, float]:
    """Compute the IoU of one image."""
    gt, pred, both = pair.seen(mode).table.foreground
    return {"iou": ratio(both, gt + pred - both)}


MEAN = MeanOverImages("iou")
METRIC = Metric("iou_pixel", CARD, count, MEAN.pool, value_of=MEAN.value_of, resample=MEAN.resample)
