"""The ensemble Dice (Dice 2): Dice summed over all pairs of a cell and a prediction that overlap."""

from __future__ import annotations

from typing import Any

from celltable.errors import MetricError
from celltable.plugins.metric import Card, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.means import MeanOverImages

CARD = Card(
    title="Ensemble Dice (Dice 2)",
    quantity="2 x shared pixels / area of both, summed over all overlapping pairs, mean over images",
    authority="HoVer-Net, get_dice_2 and get_fast_dice_2 (after the CPM challenges)",
    citation=(
        "Vu et al., Methods for segmentation and classification of digital microscopy tissue images, Front. Bioeng. "
        "Biotechnol. 7 (2019), 53"
    ),
    doi="10.3389/fbioe.2019.00053",
    url="https://github.com/vqdang/hover_net",
    formula="2 sum of |A_i and B_j| / sum of (|A_i| + |B_j|) over every overlapping pair i, j",
    matching="every overlapping pair, however small the overlap; one cell may occur in many pairs",
    ties="none",
    averaging="mean over images",
    empty="no overlapping pair: 0 if there is any cell, else undefined, left out and counted",
    strict="the official code divides by zero if no pair overlaps: strict mode raises",
    namesakes="dice_pixel ignores which cell a pixel belongs to. Cells without any overlap do not lower dice_ensemble",
)


def count(pair: Pair, mode: Mode, **_: Any) -> dict[str, float]:
    """Compute the ensemble Dice of one image."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("get_dice_2")
        if not len(table.gt_index):
            raise MetricError(
                f"image {table.image_id} has no overlapping pair, so the official ensemble Dice divides by zero; "
                "use corrected mode"
            )
    areas = int(table.gt_areas[table.gt_index].sum() + table.pred_areas[table.pred_index].sum())
    nothing = 0.0 if table.n_gt or table.n_pred else float("nan")
    return {"dice2": 2 * int(table.intersection.sum()) / areas if areas else nothing}


MEAN = MeanOverImages("dice2")
METRIC = Metric("dice_ensemble", CARD, count, MEAN.pool, value_of=MEAN.value_of, resample=MEAN.resample)
