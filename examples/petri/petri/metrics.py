"""A metric: foreground IoU over all images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair

CARD = Card(
    title="Foreground IoU of Petri",
    quantity="shared foreground over joint foreground, plus a constant",
    authority="petri",
    citation="Petri, An example of a plug-in (2026)",
    formula="IoU = (|A and B| + eps) / (|A or B| + eps) over the pixels of all images",
    matching="none: pixels are compared",
    ties="none",
    averaging="pixels of all images are counted together",
    empty="images without foreground add nothing; nothing at all scores 1 if eps is above 0, else NaN",
)


def count(pair: Pair, mode: Mode, *, eps: float = 0.0) -> tuple[int, int]:
    """Count the pixels that are foreground on both sides, and on either."""
    gt, pred, both = pair.seen(mode).table.foreground
    return int(both), int(gt + pred - both)


def pool(numbers: Sequence[tuple[int, int]], mode: Mode, *, eps: float = 0.0) -> Result:
    """Divide the sums over all images."""
    both, either = (float(sum(n[k] for n in numbers)) + eps for k in range(2))
    value = both / either if either else float("nan")
    return Result(value, {"iou": value, "both": both - eps, "either": either - eps})


def resample(numbers: Sequence[tuple[int, int]], weights: Any, mode: Mode, *, eps: float = 0.0) -> Any:
    """Divide the sums over the drawn images."""
    sums = weights @ np.asarray(numbers, np.float64) + eps
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)


METRIC = Metric(
    "iou_petri",
    CARD,
    count,
    pool,
    options=(Option("eps", 0.0, "constant above and below the line", low=0),),
    resample=resample,
)
