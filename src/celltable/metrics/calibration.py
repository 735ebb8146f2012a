"""Calibration, whether a score is the probability of a hit: ECE, Brier, reliability curve, and lowest LRP error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.coco.accumulate import checked, join
from celltable.scoring.coco.matching import Tally, tally
from celltable.scoring.coco.metrics import CROWD, MATCHING
from celltable.scoring.coco.protocol import Protocol

Floats = NDArray[np.float64]
BINS = 10
FALSE, TRUE, IGNORED = 0, 1, 2  # verdicts of the matching

CARD = Card(
    title="Calibration and localisation-recall-precision",
    quantity="ECE: mean gap between score and precision; Brier: mean squared gap; oLRP: the lowest LRP over scores",
    authority="Guo et al. 2017 (ECE), Brier 1950, Oksuz et al. 2018 (LRP), on COCO's matching at IoU 0.5",
    citation=(
        "Oksuz et al., Localization recall precision (LRP): a new performance metric for object detection, ECCV 2018, "
        "LNCS 11211, 521-537; Guo et al., On calibration of modern neural networks, ICML 2017, PMLR 70, 1321-1330; "
        "Brier, Monthly Weather Review 78 (1950), 1-3"
    ),
    doi="10.1007/978-3-030-01234-2_31",
    url="https://github.com/cancam/LRP",
    formula=(
        "ECE = sum over 10 bins of n_b/N |precision_b - mean score_b|; Brier = mean (score - hit)²; LRP(s) = (sum "
        "over TP of "
        "(1-IoU)/(1-0.5) + FP + FN) / (TP+FP+FN) with the detections of score s or more; oLRP = min over s"
    ),
    matching=MATCHING,
    ties="an IoU of exactly 0.5 is a hit; bins are [0, 0.1), …, [0.9, 1]; equal scores enter LRP together",
    averaging=(
        "ECE and Brier over all detections of all images; LRP per class over all images, mean over classes with cells"
    ),
    empty="no detections: ECE and Brier are undefined, oLRP is 1; no cells: oLRP is undefined",
    thresholds="IoU 0.5; 10 equal score bins from 0 to 1; no limit on the number of detections",
    strict=(
        "in COCO's matching, an annotation with id 0 takes its detection but never counts as found, and ignore marks "
        "are not read"
    ),
    flattening="none: masks of one side may overlap",
    regions=CROWD + "; no number includes ignored detections",
    namesakes="the ECE of classifiers bins all predictions; detections can also miss cells",
)


def _protocol(threshold: float) -> Protocol:
    return Protocol(thresholds=(float(threshold),), areas=(("all", 0.0, 1e10),), max_dets=(2**31 - 1,))


def count(pair: Pair, mode: Mode, threshold: float = 0.5, bins: int = BINS) -> Tally:
    """Count the verdicts of one image at one IoU."""
    return tally(pair, mode, _protocol(threshold))


def pool(numbers: Sequence[Tally], mode: Mode, threshold: float = 0.5, bins: int = BINS) -> Result:
    """Compute ECE (the value), Brier, the reliability curve, oLRP and its parts."""
    checked(numbers, "corrected")
    joined = join(numbers, _protocol(threshold))
    code = joined["codes"][0, 0]
    kept = code != IGNORED
    scores, hits = joined["score"][kept], code[kept] == TRUE
    curve = reliability(scores, hits, bins)
    outside = int(((scores < 0) | (scores > 1)).sum())
    lrp = [
        lowest_lrp(*_of_class(joined, code, k), int(n), threshold)
        for k, n in enumerate(joined["n_gt"][:, 0].tolist())
        if n
    ]
    fields: dict[str, Any] = {
        "ECE": float(curve["gap"] @ curve["n"] / len(scores)) if len(scores) else float("nan"),
        "Brier": float(np.mean((scores - hits) ** 2)) if len(scores) else float("nan"),
        "detections": len(scores),
        "reliability": {k: v.tolist() for k, v in curve.items()},
    }
    for k, name in enumerate(("oLRP", "oLRP_localisation", "oLRP_FP", "oLRP_FN", "oLRP_score")):
        each = [x[k] for x in lrp if not np.isnan(x[k])]
        fields[name] = float(np.mean(each)) if each else float("nan")
    return Result(fields["ECE"], fields, {"scores outside 0 to 1": outside} if outside else {})


def _of_class(joined: Tally, code: NDArray[np.uint8], k: int) -> tuple[Floats, NDArray[np.bool_], Floats]:
    mask = (joined["category"] == k) & (code != IGNORED)
    return joined["score"][mask], code[mask] == TRUE, joined["iou"][mask]


def reliability(scores: Floats, hits: NDArray[np.bool_], bins: int) -> dict[str, NDArray[Any]]:
    """Compute count, mean score, precision and their gap per equal score bin; an empty bin has NaN and a gap of 0.

    >>> curve = reliability(np.array([0.2, 0.8, 0.9]), np.array([False, True, False]), 2)
    >>> curve["n"].tolist(), curve["precision"].tolist()
    ([1, 2], [0.0, 0.5])
    """
    where = np.clip((scores * bins).astype(np.int64), 0, bins - 1)
    n = np.bincount(where, minlength=bins)
    none = np.full(bins, np.nan)
    mean = np.divide(np.bincount(where, scores, bins), n, out=none.copy(), where=n > 0)
    precision = np.divide(np.bincount(where, hits, bins), n, out=none.copy(), where=n > 0)
    return {"n": n, "score": mean, "precision": precision, "gap": np.nan_to_num(np.abs(precision - mean))}


def lowest_lrp(
    scores: Floats, hits: NDArray[np.bool_], iou: Floats, n_gt: int, threshold: float
) -> tuple[float, float, float, float, float]:
    """Find the lowest LRP over scores, its localisation, FP and FN components, and the score where it is reached.

    Three of four cells are found with IoU 0.75, with one false positive and equal scores: (3·0.5 + 1 + 1) / 5.

    >>> lowest_lrp(np.ones(4), np.array([1, 1, 1, 0], bool), np.full(4, 0.75), 4, 0.5)[0]
    0.7
    """
    order = np.argsort(-scores, kind="stable")
    scores, hits, iou = scores[order], hits[order], iou[order]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
    tp, fp = np.cumsum(hits)[last], np.cumsum(~hits)[last]
    loss = np.cumsum(np.where(hits, (1 - iou) / (1 - threshold), 0.0))[last]
    lrp = (loss + fp + (n_gt - tp)) / (n_gt + fp)
    if not len(lrp) or lrp.min() >= 1:
        return 1.0, float("nan"), float("nan"), 1.0, float("nan")
    k = int(np.argmin(lrp))
    local = float(loss[k] * (1 - threshold) / tp[k]) if tp[k] else float("nan")
    return float(lrp[k]), local, float(fp[k] / (tp[k] + fp[k])), float(1 - tp[k] / n_gt), float(scores[last[k]])


METRIC = Metric(
    "calibration",
    CARD,
    count,
    pool,
    needs=frozenset({"scores"}),
    options=(
        Option("threshold", 0.5, "lowest IoU at which a detection is a hit", above=0, below=1),
        Option("bins", BINS, "number of equal score bins from 0 to 1", low=1),
    ),
    handles=frozenset({"regions"}),
    better="lower",
)
