"""TIDE: which types of errors a detector makes, and how much AP at IoU 0.5 each type costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.errors import MetricError
from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.coco.metrics import CROWD
from celltable.scoring.tide import ERRORS, Pooled, Verdicts, resample, verdicts

CARD = Card(
    title="TIDE error analysis",
    quantity="AP at IoU 0.5 in percent, and the AP in percent gained by fixing one type of error at a time",
    authority="Bolya et al. 2020; tidecv",
    citation=(
        "Bolya et al., TIDE: a general toolbox for identifying object detection errors, ECCV 2020, LNCS 12348, 558-573"
    ),
    unit="percent",
    doi="10.1007/978-3-030-58580-8_33",
    url="https://github.com/dbolya/tide",
    formula="dAP(type) = max(0, AP with that type fixed - AP); FalsePos and FalseNeg: AP without them - AP",
    matching=(
        "in order of decreasing score, each detection takes the free cell of its class that it overlaps most, at IoU "
        "0.5 or more. A wrong one is, in this order: Loc (best cell of its class 0.1 to 0.5), Cls (a cell of another "
        "class 0.5 or more), Dupe (a taken cell of its class 0.5 or more), Bkg (nothing over 0.1), else Both. Miss: "
        "cells that no fixed Loc or Cls finds"
    ),
    ties=(
        "of cells with the same IoU, the first; of errors on one cell, only the best-scored is fixed and the others "
        "are dropped"
    ),
    averaging=(
        "detections of all images are ranked together, per class; a class with detections but no cells has an AP of 0"
    ),
    empty="a wrong detection in an image without cells is Bkg; nothing at all anywhere: undefined",
    thresholds="0.5 (pos_thresh) and 0.1 (bg_thresh)",
    strict="at most 100 detections per image if max_dets is not given (corrected: all); ignore marks are not read",
    flattening="none: masks may overlap",
    regions=CROWD
    + "; a detection is ignored if more than half of it is in a region: AP does not count it, but, as in tidecv, it "
    "still counts as an error of its type, and fixing its location or class makes it a hit",
    namesakes="errors_caicedo counts splits, merges and misses without scores",
)


def count(
    pair: Pair, mode: Mode, pos_thresh: float = 0.5, bg_thresh: float = 0.1, max_dets: int | None = None
) -> Verdicts:
    """Classify the detections and cells of one image."""
    return verdicts(pair, mode, pos_thresh, bg_thresh, 100 if max_dets is None and mode == "strict" else max_dets)


def pool(numbers: Sequence[Verdicts], mode: Mode, **_: object) -> Result:
    """Compute AP, dAP and counts over all images."""
    everything = Pooled.of(numbers)
    ap = everything.base()
    if mode == "strict" and ap != ap:
        raise MetricError("there are no cells and no detections, and tidecv divides by zero; use corrected mode")
    main = {kind: max(everything.without(kind) - ap, 0) for kind in ERRORS}
    positive, negative = everything.special()
    special = {"FalsePos": positive - ap, "FalseNeg": negative - ap}
    counts = everything.counts()
    fields = {"AP": ap, "dAP": main | special, "counts": counts, **{f"dAP_{k}": v for k, v in (main | special).items()}}
    return Result(ap, fields)


def value_of(numbers: Verdicts, mode: Mode, **_: object) -> float:
    """Compute the AP of one image."""
    return Pooled.of([numbers]).base()


def resampled(numbers: Sequence[Verdicts], weights: NDArray[Any], mode: Mode, **_: object) -> NDArray[np.float64]:
    """Compute the AP of resampled images."""
    return resample(numbers, weights)


METRIC = Metric(
    "tide",
    CARD,
    count,
    pool,
    needs=frozenset({"scores"}),
    options=(
        Option("pos_thresh", 0.5, "lowest IoU at which a detection is a hit", low=0, high=1),
        Option("bg_thresh", 0.1, "IoU up to which a detection is background", low=0, high=1, at_most="pos_thresh"),
        Option(
            "max_dets",
            None,
            "number of best-scored detections read per image",
            type=int,
            low=1,
            unset="all; 100 in strict mode",
        ),
    ),
    handles=frozenset({"regions"}),
    value_of=value_of,
    resample=resampled,
)
