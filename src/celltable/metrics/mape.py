"""Mean absolute percentage error of cell counts per image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from celltable.plugins.metric import Mode
from celltable.scoring.counts import CARD as COUNTS
from celltable.scoring.counts import Counts, MeanError
from celltable.scoring.means import ratio

CARD = replace(
    COUNTS,
    title="Mean absolute percentage error of counts",
    quantity="mean of |predicted - true| / true, as a fraction",
    formula="mean over images of |f - y| / y",
    empty="undefined for a true count of 0: left out and counted",
    namesakes="mae is in cells",
)


def error(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Compute the relative error of one image; NaN for a true count of 0."""
    true, pred = numbers
    return ratio(abs(pred - true), true)


METRIC = MeanError("mape", error, left_out="images with a true count of 0 or unknown").metric(CARD)
