"""F-scores of detection and of each cell type as computed by HoVer-Net; cells are paired by centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.detection import Pairing, confusion, detection, resample, total, type_scores
from celltable.scoring.detection import count as count_pairs
from celltable.scoring.means import ratio

RADIUS = 12.0  # px at 40x: run_nuclei_type_stat

CARD = Card(
    title="HoVer-Net detection and classification F",
    quantity="F of detection (F_d), accuracy of types among pairs, F of each type (F_c)",
    authority="HoVer-Net, compute_stats.run_nuclei_type_stat",
    citation=(
        "Graham et al., HoVer-Net: simultaneous segmentation and classification of nuclei, Medical Image Analysis 58 "
        "(2019), 101563"
    ),
    doi="10.1016/j.media.2019.101563",
    url="https://github.com/vqdang/hover_net",
    formula=(
        "F_d = 2TP/(2TP+FP+FN); F_c = 2TPc/(2TPc+2FPc+2FNc+FPd+FNd), where FPc, FNc are wrong types among pairs, and "
        "FPd, FNd unpaired cells of the type"
    ),
    matching=(
        "the one-to-one assignment of centres with the smallest sum of distances over all pairs, then those within 12 "
        "px"
    ),
    ties="a distance of exactly the radius makes a pair",
    averaging="pooled over the cells of all images",
    empty="corrected: an image without cells adds nothing; strict: it gets one cell of type 0 at (0, 0)",
    thresholds="12 px at 40x (option radius)",
    strict="the phantom cell of a side without cells",
    partial="cells without a type in the ground truth do not count as wrong types with the option typed=False",
    namesakes="f_cellvit adds precision and recall and uses 6 px at 20x; the F1 of pq_* needs an IoU over 0.5",
)


def count(pair: Pair, mode: Mode, radius: float, **_: Any) -> Pairing:
    """Count pairs and unpaired cells of one image, by type."""
    return count_pairs(pair, mode, radius)


def pool(numbers: Sequence[Pairing], mode: Mode, typed: bool, **_: Any) -> Result:
    """Compute the scores over all images."""
    whole = total(numbers)
    f_d, precision, recall = detection(whole)
    fields: dict[str, Any] = {"F_d": f_d, "precision_d": precision, "recall_d": recall}
    if whole.names:
        known = whole.paired if typed else whole.paired[1:]
        same = int(np.trace(whole.paired)) - (0 if typed else int(whole.paired[0, 0]))
        fields["acc_type"] = ratio(same, int(known.sum()))
        scores = [type_scores(whole, k + 1, gt_typed=typed)[0] for k in range(len(whole.names))]
        fields |= {f"F_c({name})": f for name, f in zip(whole.names, scores, strict=True)}
        fields["confusion"] = confusion(whole)
    return Result(f_d, fields)


OPTIONS = (
    Option("radius", RADIUS, "largest distance between the centres of a pair", type=float, above=0, unit="px"),
    Option("typed", True, "set to no if some true cells have no type; they then do not count as type errors"),
)
METRIC = Metric("f_hovernet", CARD, count, pool, options=OPTIONS, resample=resample)
