"""Panoptic quality as reported by PanNuke: binary (bPQ) and multi-class (mPQ), per class, per tissue and over folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.plugins.metric import Card, Metric, Mode, Result
from celltable.scoring import Pair
from celltable.scoring.means import divided, nanmean
from celltable.scoring.panoptic import counts, counts_by_class, quality

TISSUES = (  # in the order in which run.py sums the means
    "Adrenal_gland",
    "Bile-duct",
    "Bladder",
    "Breast",
    "Cervix",
    "Colon",
    "Esophagus",
    "HeadNeck",
    "Kidney",
    "Liver",
    "Lung",
    "Ovarian",
    "Pancreatic",
    "Prostate",
    "Skin",
    "Stomach",
    "Testis",
    "Thyroid",
    "Uterus",
)
Counts = dict[str, Any]

CARD = Card(
    title="PanNuke panoptic quality (mPQ, bPQ)",
    quantity="PQ, mean over classes, then images of a tissue, then tissues; bPQ the same with one class",
    authority="PanNuke-metrics, run.py",
    citation="Gamper et al., PanNuke dataset extension, insights and baselines, arXiv 2003.10778, 2020",
    doi="10.48550/arXiv.2003.10778",
    url="https://github.com/TissueImageAnalytics/PanNuke-metrics",
    formula="PQ = TP/(TP+FP/2+FN/2) x sum of IoU/(TP+1e-6) per image and class",
    matching="IoU > 0.5 (unique pairs), within a class (mPQ) or of all cells (bPQ)",
    ties="an IoU of exactly 0.5 is a miss",
    averaging=(
        "image = mean over its classes; tissue = mean of its images; score = mean over tissues (without tissues: over "
        "images). If images name their fold: also the score of each fold, their mean and their standard deviation "
        "(divided by the number of folds)"
    ),
    empty=(
        "a class without ground truth in an image is left out even if it was predicted: such false positives never "
        "count"
    ),
    flattening="bPQ: classes are painted into one map, class 0 first, later ids on top; mPQ: each class as it is",
    strict="a map without background is refused, because the official code takes its first cell for the background",
    namesakes=(
        "pq_conic pools counts over images; pq_cellvit adds 1e-6 to the denominator of DQ and averages over images"
    ),
)


def count(pair: Pair, mode: Mode, **_: Any) -> Counts:
    """Compute bPQ with its DQ and SQ, and the PQ of each class, for one image; record its tissue and fold."""
    seen = pair.seen(mode)
    table = seen.table
    if mode == "strict":
        table.need_background("run.py")
    binary = quality(counts(table)) if table.n_gt else (float("nan"),) * 3
    classes = seen.class_names if seen.has_classes else ()
    by_class = counts_by_class(seen.class_table, len(classes)) if classes else []
    each = [quality(n)[2] if n.n_gt else float("nan") for n in by_class]
    tissue, fold = pair.meta.get("tissue"), pair.meta.get("fold")
    return {"binary": binary, "classes": each, "names": classes, "tissue": tissue, "fold": fold, "n_gt": table.n_gt}


def value_of(numbers: Counts, mode: Mode, **_: Any) -> float:
    """Return mPQ of one image, or bPQ without classes."""
    return nanmean(numbers["classes"]) if numbers["names"] else float(numbers["binary"][2])


def _over_tissues(values: Sequence[float], tissues: Sequence[str | None]) -> tuple[float, dict[str, float]]:
    """Average the means of each tissue, and return these too; without tissues, average over images."""
    present = {t for t in tissues if t is not None}
    if not present:
        return nanmean(values), {}
    order = [t for t in TISSUES if t in present] + sorted(present - set(TISSUES))
    means = {t: nanmean([v for v, at in zip(values, tissues, strict=True) if at == t]) for t in order}
    full = [means.get(t, float("nan")) for t in TISSUES] + [means[t] for t in order if t not in TISSUES]
    return nanmean(full), means


def pool(numbers: Sequence[Counts], mode: Mode, **_: Any) -> Result:
    """Compute the table of run.py: each class, each tissue, the averages, and the spread over folds."""
    names = next((n["names"] for n in numbers if n["names"]), ())
    tissues = [n["tissue"] for n in numbers]
    bpq, by_tissue = _over_tissues([float(n["binary"][2]) for n in numbers], tissues)
    fields: dict[str, Any] = {"Average bPQ": bpq}
    value = bpq
    if names:
        value, m_by_tissue = _over_tissues([nanmean(n["classes"]) for n in numbers], tissues)
        fields = {"Average mPQ": value, **fields}
        for k, name in enumerate(names):
            fields[f"{name} PQ"] = nanmean([n["classes"][k] for n in numbers if n["classes"]])
        fields |= {f"{t} PQ": v for t, v in m_by_tissue.items()}
    fields |= {f"{t} PQ binary": v for t, v in by_tissue.items()}
    for k, name in enumerate(("DQ binary", "SQ binary", "PQ binary")):
        fields[f"{name} (mean over images)"] = nanmean([n["binary"][k] for n in numbers])
    fields |= _folds(numbers, mode)
    empty = sum(not n["n_gt"] for n in numbers)
    return Result(value, fields, {"images without a ground-truth cell": empty} if empty else {})


def _folds(numbers: Sequence[Counts], mode: Mode) -> dict[str, Any]:
    folds = sorted({str(n["fold"]) for n in numbers if n["fold"] is not None})
    if len(folds) < 2:
        return {}
    scores = {}
    for fold in folds:
        inside = [{**n, "fold": None} for n in numbers if str(n["fold"]) == fold]
        scores[fold] = pool(inside, mode).fields
    out: dict[str, Any] = {"folds": scores}
    for key in ("Average mPQ", "Average bPQ"):
        values = [s[key] for s in scores.values() if key in s]
        if values:
            out[f"{key} over folds, mean"] = float(np.mean(values))
            out[f"{key} over folds, std"] = float(np.std(values))
    return out


def resample(numbers: Sequence[Counts], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """Score resampled images: means within tissues, then over the drawn tissues."""
    values = np.asarray([value_of(n, mode) for n in numbers])
    tissues = np.asarray([str(n["tissue"]) for n in numbers])
    defined = ~np.isnan(values)
    present, code = np.unique(tissues[defined], return_inverse=True)
    member = np.zeros((int(defined.sum()), len(present)))
    member[np.arange(len(code)), code] = 1
    drawn = weights[:, defined] @ member
    sums = (weights[:, defined] * values[defined]) @ member
    return divided(divided(sums, drawn, 0.0).sum(axis=1), (drawn > 0).sum(axis=1))


METRIC = Metric("pq_pannuke", CARD, count, pool, value_of=value_of, resample=resample)
