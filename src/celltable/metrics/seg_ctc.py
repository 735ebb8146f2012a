"""SEG of the Cell Tracking Challenge: mean Jaccard index between reference cells and their matches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.means import divided, weighted_sums

Counts = dict[str, Any]

CARD = Card(
    title="CTC segmentation accuracy (SEG)",
    quantity="mean over reference cells of the Jaccard index with their match, 0 without a match",
    authority="Cell Tracking Challenge; py-ctcmetrics",
    citation=(
        "Maska et al., A benchmark for comparison of cell tracking algorithms, Bioinformatics 30 (2014), 1609-1617"
    ),
    doi="10.1093/bioinformatics/btu080",
    url="https://github.com/CellTrackingChallenge/py-ctcmetrics",
    formula="SEG = sum of J(R, S) over matched R / number of R, over all images",
    matching="R and S match if they share more than half of R; an S may match several R; false positives cost nothing",
    ties="exactly half is not a match",
    averaging="pooled over the cells of all images",
    empty="no reference cells at all: NaN; strict: 0",
    strict=(
        "0 without reference cells. The official code drops the first label of a map without background: strict mode "
        "refuses such a map"
    ),
    partial="partially annotated images are scored: only reference cells count",
    namesakes="IoU-based recall needs IoU > 1/2, which is harder than covering half of the reference",
)


def count(pair: Pair, mode: Mode, **_: Any) -> Counts:
    """Match the reference cells; return the Jaccard indices of the matches and the number of cells."""
    table = pair.seen(mode).table
    if mode == "strict":
        table.need_background("py-ctcmetrics")
    matched = table.intersection / table.gt_areas[table.gt_index] > 0.5
    return {"iou": table.iou[matched], "n_ref": table.n_gt}


def pool(numbers: Sequence[Counts], mode: Mode, **_: Any) -> Result:
    """Compute SEG over all images."""
    jaccard = np.concatenate([n["iou"] for n in numbers]) if numbers else np.zeros(0)
    n_ref = sum(n["n_ref"] for n in numbers)
    nothing = 0.0 if mode == "strict" else float("nan")
    value = float(np.sum(jaccard) / n_ref) if n_ref else nothing
    return Result(value, {"SEG": value, "n_ref": n_ref, "n_matched": len(jaccard)})


def value_of(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Compute SEG of one image."""
    return pool([numbers], mode).value


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Compute SEG of resampled images, float64 (B,)."""
    top, below = weighted_sums([(float(n["iou"].sum()), n["n_ref"]) for n in numbers], weights).T
    return divided(top, below)


METRIC = Metric("seg_ctc", CARD, count, pool, handles=frozenset({"partial"}), value_of=value_of, resample=resample)
