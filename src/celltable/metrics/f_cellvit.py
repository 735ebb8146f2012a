"""F, precision and recall of detection and of each cell type as reported by CellViT; cells are paired by centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.detection import Pairing, confusion, detection, resample, total, type_scores
from celltable.scoring.detection import count as count_pairs
from celltable.scoring.means import nanmean

RADIUS_40X, RADIUS_20X = 12.0, 6.0  # px: inference_cellvit_experiment_pannuke.py

CARD = Card(
    title="CellViT detection and classification F",
    quantity="F, precision and recall of detection and of each type",
    authority="CellViT, metrics.cell_detection_scores and cell_type_detection_scores",
    citation=(
        "Hoerst et al., CellViT: vision transformers for precise cell segmentation, Medical Image Analysis 94 "
        "(2024), 103143"
    ),
    doi="10.1016/j.media.2024.103143",
    url="https://github.com/TIO-IKIM/CellViT",
    formula="F as f_hovernet; precision of a type = TPc/(TPc+2FPc+FPd), recall = TPc/(TPc+2FNc+FNd)",
    matching=(
        "the one-to-one assignment of centres with the smallest sum of distances over all pairs, then those within the "
        "radius"
    ),
    ties="a distance of exactly the radius makes a pair",
    averaging="pooled over the cells of all images",
    empty="corrected: an image without cells adds nothing; strict: it gets one cell of type 0 at (0, 0)",
    thresholds="12 px at 40x, 6 px at a magnification below 40 (option radius; None takes it from the image)",
    strict="the phantom cell of a side without cells",
    namesakes="f_hovernet does not report precision and recall per type, and always uses 12 px",
)


def count(pair: Pair, mode: Mode, radius: float | None, **_: Any) -> Pairing:
    """Count pairs and unpaired cells of one image, by type."""
    if radius is None:
        magnification = pair.meta.get("magnification")
        radius = RADIUS_20X if magnification is not None and float(magnification) < 40 else RADIUS_40X
    return count_pairs(pair, mode, radius)


def pool(numbers: Sequence[Pairing], mode: Mode, **_: Any) -> Result:
    """Compute the scores over all images."""
    whole = total(numbers)
    f_d, precision, recall = detection(whole)
    fields: dict[str, Any] = {"f1_detection": f_d, "precision_detection": precision, "recall_detection": recall}
    if whole.names:
        scores = [type_scores(whole, k + 1) for k in range(len(whole.names))]
        for name, values in zip(whole.names, scores, strict=True):
            fields |= {f"{name} {key}": v for key, v in zip(("f1_cell", "prec_cell", "rec_cell"), values, strict=True)}
        fields["macro_f1"] = nanmean([s[0] for s in scores])
        fields["confusion"] = confusion(whole)
    return Result(f_d, fields)


OPTIONS = (
    Option(
        "radius",
        None,
        "largest distance between the centres of a pair",
        type=float,
        above=0,
        unit="px",
        unset="12; 6 for images with a magnification below 40",
    ),
)
METRIC = Metric("f_cellvit", CARD, count, pool, options=OPTIONS, resample=resample)
