"""HPA single-cell 2021: mean average precision over classes at IoU 0.6, by the Open Images rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.hpa import Numbers, average_precision, image_numbers, warn_of_ties
from celltable.scoring.means import nanmean

CARD = Card(
    title="HPA 2021 mean average precision",
    quantity="mean over classes of the area under the precision envelope at IoU 0.6",
    authority=(
        "Human Protein Atlas, Single Cell Classification (Kaggle 2021); Open Images instance segmentation evaluator"
    ),
    citation=(
        "Le et al., Analysis of the Human Protein Atlas Weakly Supervised Single-Cell Classification competition, "
        "Nature Methods 19 (2022), 1221-1229"
    ),
    doi="10.1038/s41592-022-01606-z",
    url="https://github.com/trangle1302/HPA_SingleCellClassification_Analysis",
    formula=(
        "AP(class) = sum over recall steps of the step times the highest precision from there on (VOC 2010); mAP = "
        "mean of AP"
    ),
    matching=(
        "per image and class in order of decreasing score; a detection tries only the cell it overlaps most, taken or "
        "not, and hits if their IoU is 0.6 or more (float32) and the cell is free: a second-best free cell is not tried"
    ),
    ties="an IoU of exactly 0.6 is a hit; equal IoU: the first cell; equal scores: stable, in the order listed",
    averaging="detections of all images are ranked together, per class; mean over the classes that have cells",
    empty="a class without cells in any image is left out; a detection without pixels is dropped",
    thresholds="0.6",
    strict=(
        "ignore marks are not read, as the official code does not have them. It orders equal scores by numpy's "
        "unstable sort, which depends on the processor; here the sort is stable in both modes, with a warning if many "
        "scores are equal"
    ),
    flattening="none: masks may overlap; a cell with several classes counts once in each",
    regions=(
        "crowd (IsGroupOf) need not be found; an unmatched detection with 0.6 or more of its area in crowd is not "
        "counted; strict: ignore marks are not read; corrected: ignored cells are treated as crowd"
    ),
    partial=(
        "absent_class='ignore' (Open Images, the default) drops detections of classes without a cell in the image; "
        "'fp' counts them"
    ),
    namesakes="ap_coco averages over ten thresholds and tries every free cell",
)


def count(pair: Pair, mode: Mode, threshold: float = 0.6, absent_class: str = "ignore", shape: str = "segm") -> Any:
    """Match the detections of each class of one image."""
    return {"class_names": pair.class_names, "classes": image_numbers(pair, mode, threshold, absent_class, shape)}


def pool(numbers: Sequence[Any], mode: Mode, **_: Any) -> Result:
    """Compute mAP over all images, and the AP of each class."""
    images: list[Numbers] = [n["classes"] for n in numbers]
    seen = {name for image in images for name in image}
    listed = max((n["class_names"] for n in numbers), key=len, default=())
    order = [w for w in listed if w in seen] + sorted(seen.difference(listed))
    warn_of_ties(images, mode)
    each = {name: average_precision([image[name] for image in images if name in image]) for name in order}
    value = nanmean(list(each.values()))
    cells = {name: sum(image[name].n_gt for image in images if name in image) for name in order}
    empty = sum(not n for n in cells.values())
    fields = {"mAP": value, "AP_per_class": each, "cells_per_class": cells}
    return Result(value, fields, {"classes without cells": empty} if empty else {})


METRIC = Metric(
    "map_hpa2021",
    CARD,
    count,
    pool,
    needs=frozenset({"scores", "classes"}),
    options=(
        Option("threshold", 0.6, "lowest IoU at which a detection is a hit", low=0, high=1),
        Option(
            "absent_class",
            "ignore",
            "detections of a class that has no cell in the image: drop them (ignore), or count them (fp)",
            choices=("ignore", "fp"),
        ),
        Option("shape", "segm", "whether masks or boxes are compared", choices=("segm", "bbox")),
    ),
    handles=frozenset({"regions"}),
)
