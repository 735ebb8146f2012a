"""Corrected mode on every reference vector of label maps: the official number, or, where a quirk is named, the rule's.

Each protocol is transcribed here as its corrected rule reads, on dense tables made by comparing labels, and independent
of the engine. `DIFFERS` lists on which cases corrected mode departs from the reference and why; any other departure,
and a listed one that does not happen, fails.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from celltable import plugins
from celltable.errors import MetricError
from celltable.plugins.metric import MODES, Metric, Mode
from celltable.scoring import Pair, Side, score_pairs

NAN = float("nan")
T10 = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
T12 = (0.1, 0.3, *T10)
Fields = dict[str, Any]


class Case:
    """One case: its maps, the numbers of the references, and the dense tables that the rules below use."""

    def __init__(self, name: str, maps: Mapping[str, NDArray[Any]], refs: dict[str, Any]) -> None:
        self.gt, self.pred, self.score_of_label = (maps[key] for key in ("gt", "pred", "scores"))
        self.name, self.refs = name, refs
        self.g = [int(i) for i in np.unique(self.gt) if i]
        self.p = [int(j) for j in np.unique(self.pred) if j]

    @classmethod
    def load(cls, folder: Path, name: str, refs: dict[str, Any]) -> Case:
        with np.load(folder / "cases" / f"{name}.npz") as data:
            return cls(name, dict(data), refs)

    @cached_property
    def c(self) -> NDArray[np.float64]:
        """Count the pixels shared by every cell and every prediction."""
        table = np.zeros((len(self.g), len(self.p)))
        for i, label in enumerate(self.g):
            found, pixels = np.unique(self.pred[self.gt == label], return_counts=True)
            for j, n in zip(found.tolist(), pixels.tolist(), strict=True):
                if j:
                    table[i, self.p.index(j)] = n
        return table

    @cached_property
    def a(self) -> NDArray[np.float64]:
        return np.array([np.sum(self.gt == i) for i in self.g], np.float64)

    @cached_property
    def b(self) -> NDArray[np.float64]:
        return np.array([np.sum(self.pred == j) for j in self.p], np.float64)

    @cached_property
    def union(self) -> NDArray[np.float64]:
        return self.a[:, None] + self.b[None, :] - self.c

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        return self.c / self.union

    def pair(self) -> Pair:
        scores = self.score_of_label[self.p]
        return Pair(
            self.name, self.gt.shape, Side.from_label_map(self.gt), Side.from_label_map(self.pred, scores=scores)
        )


def over(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom else NAN


def best_pairs(weights: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Find the one-to-one pairs with the largest sum of weights."""
    return list(zip(*(x.tolist() for x in linear_sum_assignment(-weights)), strict=True)) if weights.size else []


def hits_over(case: Case, threshold: float) -> list[float]:
    """Return the IoUs of the one-to-one pairs above a threshold."""
    pairs = best_pairs(case.iou) if threshold < 0.5 else np.argwhere(case.iou > threshold).tolist()
    return [float(case.iou[i, j]) for i, j in pairs if case.iou[i, j] > threshold]


def dsb(case: Case) -> Fields:
    """Divide without a small constant in the denominators; 0/0 is undefined."""
    rows = []
    for t in np.arange(0.5, 1.0, 0.05):
        tp = len(hits_over(case, float(t)))
        fp, fn = len(case.p) - tp, len(case.g) - tp
        rows.append(
            (over(2 * tp, 2 * tp + fp + fn), tp, fp, fn, over(tp, tp + fp + fn), over(tp, tp + fp), over(tp, tp + fn))
        )
    f1, tps, fps, fns, official, precision, recall = (list(x) for x in zip(*rows, strict=True))
    return {
        "F1": f1,
        "TP": tps,
        "FP": fps,
        "FN": fns,
        "Official_Score": official,
        "Precision": precision,
        "Recall": recall,
        "mean_official_score": sum(official) / 10,
        "mean_F1": sum(f1) / 10,
    }


def dsb_reference(case: Case) -> Fields:
    names = ("F1", "TP", "FP", "FN", "Official_Score", "Precision", "Recall")
    expected = case.refs["dsb2018_caicedo"]
    columns: Fields = dict(zip(names, np.array(expected["rows"], np.float64).T.tolist(), strict=True))
    return columns | {k: expected[k] for k in ("mean_official_score", "mean_F1")}


STARDIST = ("precision", "recall", "accuracy", "f1", "mean_true_score", "mean_matched_score", "panoptic_quality")


def stardist(case: Case, criterion: str, thresholds: tuple[float, ...]) -> Fields:
    """A ratio of 0/0 is undefined, not 0."""
    below = {"iou": case.union, "iot": case.a[:, None] + 0 * case.c, "iop": case.b[None, :] + 0 * case.c}[criterion]
    s = (case.c / below).astype(np.float32)
    n, m = len(case.g), len(case.p)
    out: Fields = {key: [] for key in ("tp", "fp", "fn", *STARDIST)}
    for t in thresholds:
        hit = s >= np.float32(t)
        found = [s[i, j] for i, j in best_pairs(hit + s.astype(float) / (2 * max(min(n, m), 1))) if hit[i, j]]
        tp, total = len(found), float(sum(found))
        fp, fn = m - tp, n - tp
        values = [tp, fp, fn, over(tp, m), over(tp, n), over(tp, tp + fp + fn), over(2 * tp, n + m), over(total, n)]
        for key, value in zip(out, [*values, over(total, tp), over(total, tp + fp / 2 + fn / 2)], strict=True):
            out[key].append(value)
    return out


def stardist_reference(case: Case, criterion: str) -> Fields:
    rows = case.refs["stardist_matching"] if criterion == "iou" else [case.refs[f"stardist_matching_{criterion}_0.5"]]
    return {key: [row[key] for row in rows] for key in ("tp", "fp", "fn", *STARDIST)}


def cellpose_hits(case: Case, threshold: float) -> int:
    """Find the largest number of one-to-one pairs of IoU >= threshold."""
    hit = case.iou >= threshold
    return sum(bool(hit[i, j]) for i, j in best_pairs(hit.astype(float)))


def cellpose(case: Case) -> Fields:
    """Every cell counts, even if a map has no background."""
    tp = [cellpose_hits(case, t) for t in T10]
    n, m = len(case.g), len(case.p)
    with np.errstate(invalid="ignore"):
        ap = [np.float32(k) / np.float32(n + m - k) for k in tp]
    return {"ap": [ap], "tp": [tp], "fp": [[m - k for k in tp]], "fn": [[n - k for k in tp]]}


def cellpose_reference(case: Case) -> Fields:
    return {key: [case.refs["cellpose_average_precision"][key]] for key in ("ap", "tp", "fp", "fn")}


def cellpose_aji(case: Case) -> Fields:
    n = max(min(len(case.g), len(case.p)), 1)
    pairs = best_pairs((case.iou >= 0.5) + case.iou / (2 * n))
    return {"aji": over(sum(case.c[i, j] for i, j in pairs), float(np.sum((case.gt > 0) | (case.pred > 0))))}


def aji(case: Case) -> Fields:
    """A prediction without cells scores 0; no cells on either side are undefined."""
    quotient = case.c / (case.union + 1e-6)
    inside, below, picked = 0.0, 0.0, set()
    for i in range(len(case.g)):
        j = int(np.argmax(quotient[i])) if case.p else 0
        if case.p and quotient[i, j] > 0:
            picked.add(j)
            inside, below = inside + case.c[i, j], below + case.union[i, j]
        else:
            below += case.a[i]
    below += sum(case.b[j] for j in range(len(case.p)) if j not in picked)
    return {"aji": over(inside, below)}


def aji_plus(case: Case) -> Fields:
    pairs = [(i, j) for i, j in best_pairs(case.c / (case.union + 1e-6)) if case.c[i, j]]
    alone = sum(case.a) - sum(case.a[i] for i, _ in pairs) + sum(case.b) - sum(case.b[j] for _, j in pairs)
    return {"aji_plus": over(sum(case.c[i, j] for i, j in pairs), sum(case.union[i, j] for i, j in pairs) + alone)}


def dice_pixel(case: Case) -> Fields:
    gt, pred = case.gt > 0, case.pred > 0
    return {"dice": over(2 * float(np.sum(gt & pred)), float(np.sum(gt) + np.sum(pred)))}


def dice_ensemble(case: Case) -> Fields:
    """Cells that share nothing at all score 0; no cells are undefined."""
    pairs = np.argwhere(case.c > 0).tolist()
    if not pairs:
        return {"dice2": 0.0 if case.g or case.p else NAN}
    return {"dice2": 2 * sum(case.c[i, j] for i, j in pairs) / sum(case.a[i] + case.b[j] for i, j in pairs)}


def monusac(case: Case) -> Fields:
    found = hits_over(case, 0.5)
    tp = len(found)
    return {"PQ of all cells": over(sum(found), tp + (len(case.g) - tp) / 2 + (len(case.p) - tp) / 2)}


def quality(case: Case, threshold: float, dq_eps: float) -> tuple[float, float, float]:
    found = hits_over(case, threshold)
    tp = len(found)
    dq = over(tp, tp + (len(case.g) - tp) / 2 + (len(case.p) - tp) / 2 + dq_eps)
    sq = sum(found) / (tp + 1e-6)
    return dq, sq, dq * sq


def hovernet(case: Case, threshold: float) -> Fields:
    dq, sq, pq = quality(case, threshold, 0.0)
    return {"dq": dq, "sq": NAN if np.isnan(dq) else sq, "pq": pq}


def cellvit(case: Case, threshold: float) -> Fields:
    """An image without ground truth is left out, as in the inference script."""
    values = quality(case, threshold, 1e-6) if case.g else (NAN, NAN, NAN)
    return dict(zip(("bDQ", "bSQ", "bPQ"), values, strict=True))


def cellvit_reference(case: Case, threshold: float) -> Fields | None:
    expected = case.refs[f"cellvit_pq_{threshold}"]
    if "error" in expected:
        return None
    if not case.g:  # the function returns 0, but the script never calls it
        return {"bDQ": NAN, "bSQ": NAN, "bPQ": NAN}
    return {"bDQ": expected["dq"], "bSQ": expected["sq"], "bPQ": expected["pq"]}


def conic(case: Case) -> Fields:
    """An image without cells is undefined, not 0."""
    values = quality(case, 0.5, 1e-6) if case.g or case.p else (NAN, NAN, NAN)
    return dict(zip(("dq", "sq", "pq"), values, strict=True))


def ctc_matches(case: Case) -> list[tuple[int, int]]:
    return [(i, j) for i, j in np.argwhere(case.c > 0).tolist() if case.c[i, j] / case.a[i] > 0.5]


def seg(case: Case) -> Fields:
    """Without reference cells the score is undefined, not 0."""
    return {"SEG": over(sum(case.iou[i, j] for i, j in ctc_matches(case)), len(case.g))}


def det(case: Case) -> Fields:
    pairs, n = ctc_matches(case), len(case.g)
    used = {j for _, j in pairs}
    ns, fn, fp = len(pairs) - len(used), n - len(pairs), len(case.p) - len(used)
    cost = min(5 * ns + 10 * fn + fp, 10 * n)
    return {"NS": ns, "FN": fn, "FP": fp, "DET": 1 - over(cost, 10 * n)}


def det_reference(case: Case) -> Fields:
    expected = case.refs["ctc"]
    key = "DET(det() on NS,FN,FP counted from match())"
    return {k: expected[k] for k in ("NS", "FN", "FP")} | {"DET": expected[key]}


SCALES = (0.05, 0.1, 0.25)


def outlines(label_map: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Find the pixels of each cell next to the background around it (holes do not count)."""
    cross = ndimage.generate_binary_structure(2, 1)
    out = np.zeros(label_map.shape, bool)
    for label in np.unique(label_map)[np.unique(label_map) > 0]:
        mask = np.pad(label_map == label, 1)
        regions, _ = ndimage.label(~mask, cross)
        around = ndimage.binary_dilation(regions == regions[0, 0], cross)
        out |= (mask & around)[1:-1, 1:-1]
    return out


def boundary(case: Case, scales: Sequence[float] = SCALES) -> Fields:
    """All cells count in the median diameter, and a disc may contain any number of outline pixels."""
    middle = float(np.median(case.a**0.5)) / (np.pi**0.5 / 2) if case.g else 0.0
    thin = outlines(case.gt), outlines(case.pred)
    out: Fields = {"precision": [], "recall": [], "fscore": []}
    for scale in scales:
        radius = max(1.0, scale * middle)
        reach = int(np.ceil(radius))
        dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        disc = (dy**2 + dx**2) ** 0.5 <= radius
        gt, pred = (ndimage.binary_dilation(m, disc) for m in thin)
        both = np.sum(gt & pred)
        p, r = over(both, np.sum(pred)), over(both, np.sum(gt))
        for key, value in zip(out, (p, r, over(2 * p * r, p + r)), strict=True):
            out[key].append(value)
    return out


def boundary_reference(case: Case) -> Fields:
    expected = case.refs["cellpose_boundary_scores"]
    assert tuple(expected["scales"]) == SCALES
    return {key: expected[key] for key in ("precision", "recall", "fscore")}


COCO_AREAS = {"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
LIVECELL_AREAS = {"": (0.0, 1e10), "s": (0.0, 18.0**2), "m": (18.0**2, 31.0**2), "l": (31.0**2, 1e10)}


def coco_verdicts(case: Case, t: float, area: tuple[float, float], most: int) -> tuple[list[bool | None], int]:
    """Say for each detection, by decreasing score, whether it hits (None: not counted); return the cells that count."""
    outside = [not area[0] <= v <= area[1] for v in case.a]
    scores = case.score_of_label[case.p]
    verdicts: list[bool | None] = []
    taken: set[int] = set()
    for j in sorted(range(len(case.p)), key=lambda j: -scores[j])[:most]:  # sorted() is stable
        best, chosen = min(t, 1 - 1e-10), -1
        free = [i for i in np.flatnonzero(case.iou[:, j]).tolist() if i not in taken]
        for skipped in (False, True):  # cells outside the range come last, and only if none inside matches
            if chosen < 0:
                for i in (i for i in free if outside[i] is skipped):
                    if case.iou[i, j] >= best:
                        best, chosen = case.iou[i, j], i
        taken |= {chosen} - {-1}
        ignored = outside[chosen] if chosen >= 0 else not area[0] <= case.b[j] <= area[1]
        verdicts.append(None if ignored else chosen >= 0)
    return verdicts, outside.count(False)


def coco_curve(verdicts: list[bool | None], n_gt: int) -> tuple[float, float]:
    """Compute AP and the final recall at one threshold; undefined without cells."""
    if not n_gt:
        return NAN, NAN
    hits = np.array([v for v in verdicts if v is not None], bool)
    tp = np.cumsum(hits)
    precision = tp / (np.arange(1, len(tp) + 1) + np.spacing(1))
    reached = [precision[tp / n_gt >= r] for r in np.linspace(0, 1, 101)]
    return float(np.mean([p.max(initial=0.0) for p in reached])), float(hits.sum() / n_gt)


def coco(case: Case, areas: Mapping[str, tuple[float, float]], limits: tuple[int, ...]) -> Fields:
    """Undefined numbers are NaN, not -1, and no detections at all score 0 and are not an error."""
    steps, most = np.linspace(0.5, 0.95, 10).tolist(), limits[-1]
    verdicts = {s: [coco_verdicts(case, t, area, most) for t in steps] for s, area in areas.items()}
    table = {s: np.array([coco_curve(*v) for v in rows]) for s, rows in verdicts.items()}
    out: Fields = {f"AP{s}": float(np.mean(v[:, 0])) for s, v in table.items()}
    out |= {"AP50": float(table[""][0, 0]), "AP75": float(table[""][5, 0])}
    out |= {f"AR{s}": float(np.mean(v[:, 1])) for s, v in table.items() if s}
    for limit in limits:
        out[f"AR{limit}"] = float(np.mean([coco_curve(v[:limit], n)[1] for v, n in verdicts[""]]))
    out |= {"AP_per_iou": table[""][:, 0].tolist(), "AR_per_iou": table[""][:, 1].tolist()}
    return out | ({"AFNR": 1 - out["AR2000"]} if most == 2000 else {})


def coco_reference(case: Case, name: str) -> Fields | None:
    expected = case.refs[f"{name}_pycocotools"]
    if "error" in expected:
        return None
    recalls = {f"AR{n}": v for n, v in zip(expected["maxDets"], expected["AR_maxDets"], strict=True)}
    return recalls | {k: v for k, v in expected.items() if k not in ("maxDets", "AR_maxDets")}


def field_of(reference: str, name: str) -> Callable[[Case], Fields | None]:
    """A reference that is one number, or an error; some cases have none."""

    def read(case: Case) -> Fields | None:
        if reference not in case.refs:
            return {}
        expected = case.refs[reference]
        return None if isinstance(expected, dict) else {name: expected}

    return read


def fields_of(reference: str, names: tuple[str, ...]) -> Callable[[Case], Fields | None]:
    """A reference that is a mapping of numbers, or an error."""

    def read(case: Case) -> Fields | None:
        expected = case.refs[reference]
        return None if "error" in expected else {name: expected[name] for name in names}

    return read


@dataclass(frozen=True)
class Protocol:
    """A metric with its options: the reference's numbers (None: it raised), the corrected rule, and two tolerances.

    `rel` is that of the reference where no quirk is touched; `near` is that of the slow rule, which sums in another
    order. `undefined` is the reference's sign for an undefined number, NaN in corrected mode.
    """

    metric: str
    reference: Callable[[Case], Fields | None]
    rule: Callable[[Case], Fields]
    rel: float = 0.0
    near: float = 1e-12
    options: Mapping[str, Any] = field(default_factory=dict)
    undefined: float | None = None

    def metric_of(self) -> Metric:
        loaded = plugins.load("metrics", self.metric)
        assert isinstance(loaded, Metric)
        return loaded

    def score(self, case: Case, mode: Mode) -> Fields:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="all detections have the same score")
            return dict(score_pairs(self.metric_of(), [case.pair()], mode, **self.options).fields)


def _stardist(criterion: str, thresholds: tuple[float, ...]) -> Protocol:
    return Protocol(
        "ap_stardist",
        lambda c: stardist_reference(c, criterion),
        lambda c: stardist(c, criterion, thresholds),
        2e-6,
        2e-6,
        {"criterion": criterion, "thresholds": thresholds},
    )


def _at(metric: str, reference: str, rule: Callable[[Case, float], Fields], t: float) -> Protocol:
    names = ("dq", "sq", "pq")
    return Protocol(metric, fields_of(f"{reference}_{t}", names), lambda c: rule(c, t), options={"match_iou": t})


def _coco(metric: str, areas: Mapping[str, tuple[float, float]], limits: tuple[int, ...]) -> Protocol:
    name = metric.partition("_")[2]
    return Protocol(metric, lambda c: coco_reference(c, name), lambda c: coco(c, areas, limits), undefined=-1.0)


PROTOCOLS: dict[str, Protocol] = {
    "ap_dsb2018": Protocol("ap_dsb2018", dsb_reference, dsb),
    "ap_stardist, iou": _stardist("iou", T12),
    "ap_stardist, iot": _stardist("iot", (0.5,)),
    "ap_stardist, iop": _stardist("iop", (0.5,)),
    "ap_cellpose": Protocol("ap_cellpose", cellpose_reference, cellpose, options={"thresholds": T10}),
    "aji_cellpose": Protocol("aji_cellpose", field_of("cellpose_aji", "aji"), cellpose_aji),
    "aji_kumar2017": Protocol("aji_kumar2017", field_of("hovernet_aji", "aji"), aji),
    "aji_plus": Protocol("aji_plus", field_of("hovernet_aji_plus", "aji_plus"), aji_plus),
    "dice_pixel": Protocol("dice_pixel", field_of("hovernet_dice1", "dice"), dice_pixel),
    "dice_ensemble": Protocol("dice_ensemble", field_of("hovernet_fast_dice2", "dice2"), dice_ensemble),
    "dice_ensemble, get_dice_2": Protocol("dice_ensemble", field_of("hovernet_dice2", "dice2"), dice_ensemble),
    "pq_monusac": Protocol("pq_monusac", field_of("monusac_pq", "PQ of all cells"), monusac, 4e-16),
    "pq_hovernet": _at("pq_hovernet", "hovernet_pq", hovernet, 0.5),
    "pq_hovernet, IoU 0.3": _at("pq_hovernet", "hovernet_pq", hovernet, 0.3),
    "pannuke get_fast_pq": _at("pq_hovernet", "pannuke_pq", hovernet, 0.5),
    "pannuke get_fast_pq, IoU 0.3": _at("pq_hovernet", "pannuke_pq", hovernet, 0.3),
    "pq_cellvit": Protocol(
        "pq_cellvit", lambda c: cellvit_reference(c, 0.5), lambda c: cellvit(c, 0.5), options={"match_iou": 0.5}
    ),
    "pq_cellvit, IoU 0.3": Protocol(
        "pq_cellvit", lambda c: cellvit_reference(c, 0.3), lambda c: cellvit(c, 0.3), options={"match_iou": 0.3}
    ),
    "pq_conic": Protocol("pq_conic", fields_of("conic_pq_0.5", ("dq", "sq", "pq")), conic),
    "seg_ctc": Protocol("seg_ctc", fields_of("ctc", ("SEG",)), seg, 4e-16),
    "det_ctc": Protocol("det_ctc", det_reference, det, 4e-16),
    "boundary_f_cellpose": Protocol("boundary_f_cellpose", boundary_reference, boundary, options={"scales": SCALES}),
    "ap_coco": _coco("ap_coco", COCO_AREAS, (1, 10, 100)),
    "ap_livecell": _coco("ap_livecell", LIVECELL_AREAS, (100, 500, 2000)),
}

FULL_GT = {"edge_1x1_hit", "edge_no_bg_gt"}
FULL = FULL_GT | {"edge_no_bg_pred_only"}
NO_CELLS, NO_GT, NO_PRED = {"edge_both_empty"}, {"edge_gt_empty"}, {"edge_pred_empty"}
BACKGROUND = "a map without background loses its first cell in the official code (strict mode refuses it)"
ZERO = "the official code divides by zero and raises"
NO_HIT = {"edge_disjoint", "tie_iou_1_2", "tie_merge_half", "aji_argmax_tie"}  # no IoU over 0.5

# Protocol, why corrected mode differs from the reference, and on which cases; elsewhere the numbers are equal.
DIFFERS: dict[str, dict[str, set[str]]] = {
    "ap_stardist, iou": {
        "ratios of 0/0 are 0: no cell on a side": NO_CELLS | NO_GT | NO_PRED,
        "mean_matched_score of 0/0 is 0: no match at one of the thresholds": {
            *("edge_disjoint", "edge_no_bg_pred_only", "tie_iou_1_2", "tie_iou_11_20", "tie_iou_3_5", "tie_iou_13_20"),
            *("tie_iou_7_10", "tie_iou_3_4", "tie_iou_4_5", "tie_iou_9_10", "tie_merge_half", "aji_argmax_tie"),
            "edge_hole",
        },
    },
    **{
        f"ap_stardist, {criterion}": {
            "ratios of 0/0 are 0: no cell on a side": NO_CELLS | NO_GT | NO_PRED,
            "mean_matched_score of 0/0 is 0: no match": {"edge_disjoint"},
        }
        for criterion in ("iot", "iop")
    },
    "ap_cellpose": {BACKGROUND: FULL},
    "aji_kumar2017": {BACKGROUND: FULL, "argmax of nothing raises": NO_CELLS | NO_PRED},
    "aji_plus": {BACKGROUND: FULL},
    **{
        name: {BACKGROUND: FULL, ZERO: NO_CELLS | NO_GT | NO_PRED | {"edge_disjoint"}}
        for name in ("dice_ensemble", "dice_ensemble, get_dice_2")
    },
    "pq_monusac": {ZERO: NO_CELLS},
    **{
        f"{name}{at}": {BACKGROUND: FULL, ZERO: NO_CELLS}
        for name in ("pq_hovernet", "pannuke get_fast_pq")
        for at in ("", ", IoU 0.3")
    },
    "pq_cellvit": {BACKGROUND: FULL_GT},
    "pq_cellvit, IoU 0.3": {BACKGROUND: FULL_GT},
    "pq_conic": {BACKGROUND: FULL, "an image without cells scores 0": NO_CELLS},
    "seg_ctc": {BACKGROUND: FULL, "no reference cell scores 0": NO_CELLS | NO_GT},
    "det_ctc": {BACKGROUND: FULL},
    "ap_coco": {"loadRes([]) raises": NO_CELLS | NO_PRED},
    "ap_livecell": {
        "loadRes([]) raises": NO_CELLS | NO_PRED,
        "AFNR of an undefined recall, -1, is 2": NO_GT,
    },
}


def differs(name: str, cases: list[Case]) -> set[str]:
    """The listed cases; DSB's small constant changes all with cells, except those where no IoU is over 0.5."""
    if name == "ap_dsb2018":
        return {c.name for c in cases} - NO_HIT
    listed = [case for where in DIFFERS.get(name, {}).values() for case in where]
    assert len(listed) == len(set(listed)), f"{name}: a case is listed for two reasons"
    return set(listed)


def close(found: Any, expected: Any, rel: float, undefined: float | None = None) -> bool:
    a = np.ravel(np.asarray(found, np.float64))
    b = np.array([float(v) for v in np.ravel(np.asarray(expected, object))])
    if undefined is not None:
        b[b == undefined] = NAN
    return a.shape == b.shape and bool(np.all((np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= rel * np.abs(b))))


@pytest.fixture(scope="module")
def cases(vectors: Path) -> list[Case]:
    loaded = json.loads((vectors / "expected_cases.json").read_text())["cases"]
    return [Case.load(vectors, name, entry["refs"]) for name, entry in loaded.items()]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_corrected_mode_is_the_rule_written_out_and_strict_mode_too_where_no_quirk_is_named(
    cases: list[Case], name: str
) -> None:
    protocol, quirky = PROTOCOLS[name], differs(name, cases)
    for case in cases:
        corrected = protocol.score(case, "corrected")
        strict = corrected if case.name in quirky else protocol.score(case, "strict")
        for key, value in protocol.rule(case).items():
            assert close(corrected[key], value, protocol.near), (case.name, key, corrected[key], value)
            assert close(corrected[key], strict[key], 0.0, protocol.undefined), (case.name, key, "the modes differ")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_corrected_mode_departs_from_the_reference_only_where_a_quirk_is_named(cases: list[Case], name: str) -> None:
    protocol, departs = PROTOCOLS[name], set()
    for case in cases:
        found, expected = protocol.score(case, "corrected"), protocol.reference(case)
        if (
            expected is None
            or refused(protocol, case)
            or not all(close(found[k], v, protocol.rel, protocol.undefined) for k, v in expected.items())
        ):
            departs.add(case.name)
    assert departs == differs(name, cases)


def refused(protocol: Protocol, case: Case) -> bool:
    try:
        protocol.score(case, "strict")
    except MetricError:
        return True
    return False


@pytest.mark.parametrize("name", ["ap_coco", "ap_livecell"])
def test_strict_coco_scores_of_single_images_are_bit_equal_or_refused(cases: list[Case], name: str) -> None:
    for case in cases:
        expected = PROTOCOLS[name].reference(case)
        if expected is None:
            assert refused(PROTOCOLS[name], case), case.name
            continue
        found = PROTOCOLS[name].score(case, "strict")
        assert all(close(found[k], v, 0.0) for k, v in expected.items()), case.name


def test_a_disc_of_a_multiple_of_256_outline_pixels_is_empty_in_strict_mode_only() -> None:
    """No vector touches this quirk: cells of one pixel, all outline, and discs that contain hundreds of them."""
    gt = np.arange(1, 40 * 40 + 1).reshape(40, 40) * (np.random.default_rng(0).random((40, 40)) < 0.9)
    pred = np.where(np.arange(40) < 20, gt, 0)
    case = Case("discs", {"gt": gt, "pred": pred, "scores": np.ones(1601)}, {})
    scale = 9.6 / (2 / np.pi**0.5)  # of the diameter of a pixel: a radius of 9.6
    strict, corrected = (
        score_pairs(PROTOCOLS["boundary_f_cellpose"].metric_of(), [case.pair()], mode, scales=(scale,)).fields
        for mode in MODES
    )
    expected = boundary(case, (scale,))
    assert all(close(corrected[key], value, 0.0) for key, value in expected.items())
    assert all(corrected[key] != strict[key] for key in expected)
