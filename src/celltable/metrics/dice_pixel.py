"""The Dice coefficient of the two foregrounds, per pixel, whichever cell a pixel belongs to."""

from __future__ import annotations

from typing import Any

from celltable.plugins.metric import Card, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.means import MeanOverImages, ratio

CARD = Card(
    title="Pixel Dice (Dice 1)",
    quantity="2 |A and B| / (|A| + |B|) of the foregrounds, mean over images",
    authority="HoVer-Net, get_dice_1",
    citation="Dice, Measures of the amount of ecologic association between species, Ecology 26 (1945), 297-302",
    doi="10.2307/1932409",
    url="https://github.com/vqdang/hover_net",
    formula="2 |A and B| / (|A| + |B|)",
    matching="none: pixels only",
    ties="none",
    averaging="mean over images",
    empty="neither side has a cell: NaN; strict: the mean becomes NaN; corrected: left out and counted",
    strict="a single NaN makes the mean NaN",
    namesakes="dice_ensemble sums over pairs of cells; CellViT's Dice is that of its semantic head, not of the cells",
)


def count(pair: Pair, mode: Mode, **_: Any) -> dict[str, float]:
    """Compute Dice of one image."""
    gt, pred, both = pair.seen(mode).table.foreground
    return {"dice": ratio(2.0 * both, gt + pred)}


MEAN = MeanOverImages("dice")
METRIC = Metric("dice_pixel", CARD, count, MEAN.pool, value_of=MEAN.value_of, resample=MEAN.resample)
