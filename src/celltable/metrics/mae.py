"""Mean absolute error of cell counts per image, and the root mean square error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from celltable.plugins.metric import Mode
from celltable.scoring.counts import CARD as COUNTS
from celltable.scoring.counts import Counts, Floats, MeanError, difference
from celltable.scoring.means import nanmean

CARD = replace(
    COUNTS,
    title="Mean absolute error of counts",
    quantity="mean of |predicted - true| in cells; also the root mean square error",
    formula="mean over images of |f - y|; RMSE = sqrt(mean (f - y)^2)",
    unit="cells",
    namesakes="mape is relative to the true count",
)


def error(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Compute the error of one image in cells."""
    return abs(difference(numbers, mode))


def rmse(true: Floats, pred: Floats) -> dict[str, float]:
    """Compute the root mean square error over images."""
    return {"rmse": float(np.sqrt(nanmean((pred - true) ** 2)))}


METRIC = MeanError("mae", error, rmse).metric(CARD)
