"""Boundary F-score as computed by cellpose: outlines of both sides, dilated in proportion to the cells' diameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.means import nanmean, ratio, weighted_mean
from celltable.scoring.strips import boundary_counts

SCALES = (0.05, 0.1, 0.25)
Counts = dict[str, Any]

CARD = Card(
    title="Cellpose boundary F-score",
    quantity="F of outline pixels within a tolerance, mean over the scales, mean over images",
    authority="cellpose.metrics.boundary_scores",
    citation=(
        "Stringer et al., Cellpose: a generalist algorithm for cellular segmentation, Nature Methods 18 (2021), 100-106"
    ),
    doi="10.1038/s41592-020-01018-x",
    url="https://github.com/MouseLand/cellpose",
    formula="A, B = outlines of ground truth and prediction, dilated by a disc of radius max(1, scale x median "
    "diameter of the ground truth), diameter = 2 sqrt(area/pi); P = |A and B|/|B|, R = |A and B|/|A|, F = 2PR/(P+R)",
    matching="none: pixels of outer outlines (8-connected, holes do not count), whatever cell they belong to",
    ties="a pixel exactly at the radius is inside",
    averaging="P, R and F at each scale: mean over images; the headline is the mean F over the scales",
    empty="P, R or F undefined: NaN; strict: the mean becomes NaN; corrected: left out and counted",
    thresholds="scales 0.05, 0.1, 0.25 of the median diameter (option scales)",
    strict="a disc that contains an exact multiple of 256 outline pixels counts as empty (SciPy stores the sum in one "
    "byte); the first cell of a map without background is left out of the median diameter",
    namesakes="boundary IoU of COCO compares single matched cells",
)


def diameter(areas: NDArray[np.int64]) -> float:
    """Compute the median diameter of cells in pixels, 0 without cells.

    >>> round(diameter(np.array([314])), 2)
    19.99
    """
    middle = float(np.median(areas**0.5)) if len(areas) else 0.0
    return float(middle / ((np.pi**0.5) / 2))


def count(pair: Pair, mode: Mode, scales: Sequence[float], **_: Any) -> Counts:
    """Compute precision, recall and F of one image at each scale."""
    seen = pair.seen(mode)
    areas = seen.table.gt_areas
    if mode == "strict" and len(areas) and int(areas.sum()) == seen.table.n_pixels:
        areas = areas[1:]
    middle = diameter(areas)
    radii, boxes = [max(1.0, scale * middle) for scale in scales], (seen.gt.boxes, seen.pred.boxes)
    counts = boundary_counts(seen.gt.label_map, seen.pred.label_map, boxes, radii, mode == "strict")
    out: Counts = {"precision": [], "recall": [], "fscore": []}
    for both, n_gt, n_pred in counts.tolist():
        p, r = ratio(both, n_pred), ratio(both, n_gt)
        out["precision"].append(p)
        out["recall"].append(r)
        out["fscore"].append(ratio(2 * p * r, p + r))
    return out


def value_of(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Average F of one image over the scales."""
    return float(np.mean(numbers["fscore"]))


def pool(numbers: Sequence[Counts], mode: Mode, scales: Sequence[float], **_: Any) -> Result:
    """Average over images at each scale."""
    mean = (lambda v: float(np.mean(v))) if mode == "strict" else nanmean
    fields: dict[str, Any] = {"scales": list(scales)}
    for key in ("precision", "recall", "fscore"):
        columns = np.asarray([n[key] for n in numbers], np.float64).reshape(-1, len(scales)).T
        fields[key] = [mean(column) if len(column) else float("nan") for column in columns]
    values = [value_of(n, mode) for n in numbers]
    empty = int(np.isnan(values).sum()) if values else 0
    value = float(np.mean(fields["fscore"]))
    fields = {"mean fscore": value, **fields}
    return Result(value, fields, {"images where F is undefined": empty} if empty and mode != "strict" else {})


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Average over resampled images, float64 (B,)."""
    return weighted_mean([value_of(n, mode) for n in numbers], weights, skip=mode != "strict")


OPTIONS = (
    Option(
        "scales",
        SCALES,
        "tolerances as fractions of the median diameter of the true cells; the value is their mean",
        several=True,
        above=0,
    ),
)
METRIC = Metric("boundary_f_cellpose", CARD, count, pool, options=OPTIONS, value_of=value_of, resample=resample)
