"""Bias of cell counts: whether a model finds too many or too few cells on average."""

from __future__ import annotations

from dataclasses import replace

from celltable.scoring.counts import CARD as COUNTS
from celltable.scoring.counts import Floats, MeanError, difference
from celltable.scoring.means import ratio

CARD = replace(
    COUNTS,
    title="Bias of counts",
    quantity="mean of predicted - true in cells; also all predicted / all true - 1",
    formula="mean over images of f - y",
    unit="cells",
    namesakes="mae takes the absolute value",
)


def relative(true: Floats, pred: Floats) -> dict[str, float]:
    """Compute the bias as a share of all true cells."""
    return {"relative_bias": ratio(float(pred.sum() - true.sum()), float(true.sum()))}


METRIC = MeanError("bias", difference, relative).metric(CARD, better="zero")
