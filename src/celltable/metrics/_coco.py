"""COCO's evaluation of scored detections: its parameters, the verdicts of one image, precision and recall over all.

The logic is that of COCOeval (pycocotools 2.0.11): detections by falling score, each takes the free cell it overlaps
most if their IoU reaches the threshold; crowd and cells outside the area range are matched last, and their detections
are ignored.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from celltable._native import matching
from celltable.errors import MetricError

from . import Mode, Pair, Result, Side

Floats = NDArray[np.float64]
Shape = Literal["segm", "bbox"]
AREA_NAMES = ("all", "small", "medium", "large")
SUFFIXES = {"all": "", "small": "s", "medium": "m", "large": "l"}


@dataclass(frozen=True, slots=True)
class Protocol:
    """What COCOeval.params holds.

    Attributes
    ----------
    thresholds
        IoU at which a detection hits. ``linspace(.5, .95, 10)`` as the reference makes it: [8] is 0.8999999999999999.
    areas
        Area ranges in px², both ends inclusive, by name.
    max_dets
        Limits of detections per image and category, ascending; matching is done once, at the last.
    shape
        "segm" for masks, "bbox" for boxes.
    use_classes
        False pools all classes.
    box_areas
        Whether strict mode gives a result with a box the box's area (loadRes), where masks are compared.
    """

    thresholds: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
    areas: tuple[tuple[str, float, float], ...] = (
        ("all", 0.0, 1e10),
        ("small", 0.0, 32.0**2),
        ("medium", 32.0**2, 96.0**2),
        ("large", 96.0**2, 1e10),
    )
    max_dets: tuple[int, ...] = (1, 10, 100)
    recalls: tuple[float, ...] = tuple(np.linspace(0.0, 1.0, 101).tolist())
    shape: Shape = "segm"
    use_classes: bool = True
    box_areas: bool = True

    @property
    def area_ranges(self) -> Floats:
        """The ranges, float64 (A, 2)."""
        return np.array([(low, high) for _, low, high in self.areas], np.float64)


COCO = Protocol()
LIVECELL = Protocol(
    areas=(("all", 0.0, 1e10), ("small", 0.0, 18.0**2), ("medium", 18.0**2, 31.0**2), ("large", 31.0**2, 1e10)),
    max_dets=(100, 500, 2000),
    use_classes=False,
    box_areas=False,
)  # LIVECell, code/coco_evaluation: useCats = 0, catIds = [1]; boxes of results are dropped before loadRes


ABOUT = {
    "shape": "segm compares masks, bbox boxes (published ones where there are any)",
    "max_dets": "limits of detections per image and class; the largest is that of AP",
    "use_classes": "false pools all classes (useCats = 0)",
}


def protocol_of(shape: Shape, max_dets: Sequence[int], use_classes: bool) -> Protocol:
    """COCO's parameters with the options of a metric.

    Raises
    ------
    MetricError
        If the shape is unknown or a limit is no positive whole number.
    """
    if shape not in ("segm", "bbox"):
        raise MetricError(f"shape is {shape!r}; expected 'segm' or 'bbox'")
    if not len(max_dets) or any(m < 1 or m != int(m) for m in max_dets):
        raise MetricError(f"max_dets is {list(max_dets)}; expected limits of 1 or more, such as 1,10,100")
    return Protocol(shape=shape, max_dets=tuple(sorted(max_dets)), use_classes=use_classes)


class Tally(TypedDict):
    """The verdicts of one image (or of many): one entry a kept detection, by image, category and falling score."""

    category: NDArray[np.int32]
    rank: NDArray[np.int32]
    score: Floats
    iou: Floats
    codes: NDArray[np.uint8]
    n_gt: NDArray[np.int64]
    names: tuple[str, ...]


def tally(pair: Pair, mode: Mode, protocol: Protocol) -> Tally:
    """The verdicts of one image, kept with the pair for other metrics of the same protocol."""
    memo: dict[Any, Tally] = pair.__dict__.setdefault("_coco_tallies", {})
    key = (protocol, mode)
    if key not in memo:
        memo[key] = _tally(pair, mode, protocol)
    return memo[key]


def _tally(pair: Pair, mode: Mode, protocol: Protocol) -> Tally:
    count, gt_category, dt_category = _categories(pair, protocol)
    names = words(pair) if protocol.use_classes and pair.has_classes else ()
    truth: dict[str, Any] = {
        "gt_category": gt_category,
        "gt_area": _truth_areas(pair.gt),
        "gt_flags": _flags(pair.gt, mode),
    }
    guess: dict[str, Any] = {"dt_category": dt_category, "dt_score": scores_of(pair)}
    common: dict[str, Any] = {
        "categories": count,
        "thresholds": np.array(protocol.thresholds),
        "areas": protocol.area_ranges,
        "max_det": protocol.max_dets[-1],
    }
    if protocol.shape == "bbox":
        found = _match_boxes(pair, truth, guess, common)
    else:
        table = pair.overlap
        gt_index, dt_index = table.gt_index, table.pred_index
        own, other = table.pred_areas[dt_index], table.gt_areas[gt_index]
        union = np.where(truth["gt_flags"][gt_index] & 1, own, own + other - table.pixels)
        found = matching.match_pairs(
            **truth,
            **guess,
            dt_area=_guess_areas(pair.pred, mode, protocol),
            gt_index=np.ascontiguousarray(gt_index, np.int64),
            dt_index=np.ascontiguousarray(dt_index, np.int64),
            iou=table.pixels / union,
            **common,
        )
    return Tally(
        category=found["category"],
        rank=found["rank"],
        score=found["score"],
        iou=found["iou"],
        codes=found["codes"],
        n_gt=found["n_gt"][0],
        names=names,
    )


def _match_boxes(pair: Pair, truth: Mapping[str, Any], guess: Mapping[str, Any], common: Mapping[str, Any]) -> Any:
    gt_boxes, dt_boxes = _boxes(pair.gt), _boxes(pair.pred)
    none: dict[str, Any] = dict.fromkeys(("gt_text", "gt_ends", "gt_sizes", "dt_text", "dt_ends", "dt_sizes"))
    return matching.evaluate(
        images=1,
        gt_image=np.zeros(len(gt_boxes), np.int32),
        dt_image=np.zeros(len(dt_boxes), np.int32),
        gt_boxes=gt_boxes,
        dt_boxes=dt_boxes,
        dt_area=_box_areas(pair.pred),
        threads=1,
        **truth,
        **guess,
        **none,
        **common,
    )


def scores_of(pair: Pair) -> Floats:
    """Scores of the predictions, float64 (n,).

    Raises
    ------
    MetricError
        If there are none, or one of them is NaN.
    """
    scores = pair.pred.scores
    if scores is None:
        if len(pair.pred):
            raise MetricError(f"image {pair.image_id}: the predictions have no scores, and this metric ranks by score")
        return np.zeros(0)
    bad = int(np.isnan(scores).sum())
    if bad:
        raise MetricError(
            f"image {pair.image_id}: {bad} of {len(scores)} scores are NaN; expected a number for each prediction"
        )
    return np.ascontiguousarray(scores, np.float64)


def _categories(pair: Pair, protocol: Protocol) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    if not protocol.use_classes or not pair.has_classes:
        return 1, np.zeros(len(pair.gt), np.int32), np.zeros(len(pair.pred), np.int32)
    return len(words(pair)), _codes(pair.gt), _codes(pair.pred)


def words(pair: Pair) -> tuple[str, ...]:
    """The class names that codes of either side point into."""
    return pair.gt.vocabulary or pair.pred.vocabulary


def _codes(side: Side) -> NDArray[np.int32]:
    codes = side.class_codes
    return np.zeros(0, np.int32) if codes is None else np.ascontiguousarray(codes, np.int32)


def _truth_areas(side: Side) -> Floats:
    areas = side.areas.astype(np.float64)
    if side.published_area is None:
        return areas
    return np.where(np.isnan(side.published_area), areas, side.published_area)


def _guess_areas(side: Side, mode: Mode, protocol: Protocol) -> Floats:
    areas = side.areas.astype(np.float64)
    if mode == "corrected" or side.published_boxes is None or not protocol.box_areas:
        return areas
    box = side.published_boxes[:, 2] * side.published_boxes[:, 3]  # loadRes, where a result has a box
    return np.where(np.isnan(box), areas, box)


def _box_areas(side: Side) -> Floats:
    """Areas that loadRes gives detections scored by box: of the box where the result has one, else of the mask."""
    if side.published_boxes is None:
        return side.areas.astype(np.float64)
    box = side.published_boxes[:, 2] * side.published_boxes[:, 3]
    return np.where(np.isnan(box), side.areas, box)


def _boxes(side: Side) -> Floats:
    tight = side.boxes.astype(np.float64).reshape(-1, 4)
    if side.published_boxes is None:
        return np.ascontiguousarray(tight)
    return np.ascontiguousarray(np.where(np.isnan(side.published_boxes), tight, side.published_boxes))


def _flags(side: Side, mode: Mode) -> NDArray[np.uint8]:
    flags = np.zeros(len(side), np.uint8)
    if side.crowd is not None:
        flags |= side.crowd.astype(np.uint8)
    if mode == "corrected":
        if side.ignore is not None:
            flags |= side.ignore.astype(np.uint8)
    elif side.source_ids is not None:
        flags |= np.array([2 * (str(i) == "0") for i in side.source_ids], np.uint8)
    return flags


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """COCOeval.eval: precision and scores (T, R, K, A, M), recall (T, K, A, M); -1 where there is no cell to be "
    "found."""

    protocol: Protocol
    precision: Floats
    recall: Floats
    scores: Floats
    names: tuple[str, ...] = field(default=())

    def average_precision(
        self, threshold: int | None = None, area: int = 0, limit: int = -1, category: int | None = None
    ) -> float:
        """Mean of precision over thresholds, recalls and classes; -1 where nothing is defined."""
        block = self.precision[:, :, :, area, limit]
        return mean_defined(_part(block, threshold, category, axis=2))

    def average_recall(
        self, threshold: int | None = None, area: int = 0, limit: int = -1, category: int | None = None
    ) -> float:
        """Mean of the final recall over thresholds and classes; -1 where nothing is defined."""
        block = self.recall[:, :, area, limit]
        return mean_defined(_part(block, threshold, category, axis=1))

    def at(self, threshold: float) -> int | None:
        """The position of a threshold, where it is one."""
        found = np.flatnonzero(np.array(self.protocol.thresholds) == threshold)
        return int(found[0]) if len(found) else None

    def summary(self) -> dict[str, Any]:
        """Every number of COCOeval.summarize, with the means per IoU and per class."""
        protocol = self.protocol
        fields: dict[str, Any] = {"AP": self.average_precision()}
        for name, t in (("AP50", 0.5), ("AP75", 0.75)):
            where = self.at(t)
            fields[name] = -1.0 if where is None else self.average_precision(where)
        areas = [(a, SUFFIXES.get(name, f"_{name}")) for a, (name, _, _) in enumerate(protocol.areas)]
        fields.update({f"AP{s}": self.average_precision(area=a) for a, s in areas[1:]})
        fields.update({f"AR{n}": self.average_recall(limit=m) for m, n in enumerate(protocol.max_dets)})
        fields.update({f"AR{s}": self.average_recall(area=a) for a, s in areas[1:]})
        steps = range(len(protocol.thresholds))
        fields["AP_per_iou"] = [self.average_precision(t) for t in steps]
        fields["AR_per_iou"] = [self.average_recall(t) for t in steps]
        if len(self.names) > 1:
            fields["AP_per_class"] = {n: self.average_precision(category=k) for k, n in enumerate(self.names)}
            fields["AR_per_class"] = {n: self.average_recall(category=k) for k, n in enumerate(self.names)}
        return fields


def _part(block: Floats, threshold: int | None, category: int | None, axis: int) -> Floats:
    if category is not None:
        block = np.take(block, [category], axis=axis)
    return block if threshold is None else block[[threshold]]


def mean_defined(block: Floats) -> float:
    """The mean of what is not -1, in the order in which the reference sums it; -1 where nothing is."""
    there = block[block > -1]
    return float(np.mean(there)) if len(there) else -1.0


def accumulate(tallies: Sequence[Tally], protocol: Protocol, threads: int = 1) -> Evaluation:
    """Precision and recall over all images; the tallies are in the order of the images."""
    joined = join(tallies, protocol)
    precision, recall, scores = matching.accumulate(
        score=joined["score"],
        category=joined["category"],
        rank=joined["rank"],
        codes=joined["codes"],
        n_gt=joined["n_gt"],
        max_dets=list(protocol.max_dets),
        recalls=np.array(protocol.recalls),
        threads=threads,
    )
    return Evaluation(protocol, precision, recall, scores, joined["names"])


def join(tallies: Sequence[Tally], protocol: Protocol) -> Tally:
    """The tallies of some images as one; numbers of cells are summed."""
    shape = (len(protocol.areas), len(protocol.thresholds), 0)
    if len(tallies) == 1:
        return tallies[0]
    if not tallies:
        nothing = np.zeros(0)
        whole = np.zeros(0, np.int32)
        return Tally(
            category=whole,
            rank=whole,
            score=nothing,
            iou=nothing,
            codes=np.zeros(shape, np.uint8),
            n_gt=np.zeros((1, len(protocol.areas)), np.int64),
            names=(),
        )
    categories = max(len(t["n_gt"]) for t in tallies)
    n_gt = np.zeros((categories, len(protocol.areas)), np.int64)
    for t in tallies:
        n_gt[: len(t["n_gt"])] += t["n_gt"]
    return Tally(
        category=np.concatenate([t["category"] for t in tallies]),
        rank=np.concatenate([t["rank"] for t in tallies]),
        score=np.concatenate([t["score"] for t in tallies]),
        iou=np.concatenate([t["iou"] for t in tallies]),
        codes=np.concatenate([t["codes"] for t in tallies], axis=2),
        n_gt=n_gt,
        names=max((t["names"] for t in tallies), key=len),
    )


def undefined_as_nan(value: Any, mode: Mode) -> Any:
    """-1, the reference's sign for "no cell of that kind", as NaN in corrected mode, also inside lists and mappings."""
    if mode == "strict":
        return value
    if isinstance(value, dict):
        return {k: undefined_as_nan(v, mode) for k, v in value.items()}
    if isinstance(value, list):
        return [undefined_as_nan(v, mode) for v in value]
    return float("nan") if value == -1 else value


def false_negative_rate(recall: float, mode: Mode) -> float:
    """LIVECell's AFNR of an average recall; of the -1 of an undefined one the plain difference makes 2 (strict).

    >>> false_negative_rate(0.75, "strict"), false_negative_rate(-1, "strict"), false_negative_rate(-1, "corrected")
    (0.25, 2, nan)
    """
    return float("nan") if mode == "corrected" and recall == -1 else 1 - recall


def one_score(tallies: Sequence[Tally]) -> bool:
    """Whether two or more detections all have the same score, so that AP hangs on their order."""
    scores = np.concatenate([t["score"] for t in tallies]) if tallies else np.zeros(0)
    return len(scores) > 1 and bool((scores == scores[0]).all())


CROWD = (
    "crowd is matched last, may absorb many detections (overlap over the detection's own area) and is neither found "
    "nor missed; "
    "strict: an ignore mark is not read, as COCO overwrites it; corrected: ignored cells are treated as crowd"
)
MATCHING = (
    "by falling score, each detection takes the free cell of its class with the highest IoU of t or more; detections "
    "that match "
    "crowd or a cell outside the area range, or that lie outside it unmatched, are not counted"
)
TIES = (
    "an IoU of exactly t is a hit; of cells with the same IoU the last wins; equal scores keep their order (of "
    "images, then as "
    "listed), so AP depends on the order where many scores are equal"
)
STRICT = (
    "an annotation with the id 0 takes its detection but never counts as found; a detection with a published box has "
    "the area of "
    "the box; an ignore mark is not read; no detection at all is an error; undefined numbers are -1 (corrected: NaN)"
)


def checked(tallies: Sequence[Tally], mode: Mode) -> None:
    """Raise where the reference does, and warn where the score hangs on the order of the detections.

    Raises
    ------
    MetricError
        In strict mode, if there is no detection at all.
    """
    if mode == "strict" and not any(len(t["score"]) for t in tallies):
        raise MetricError(
            "there is no detection at all, and pycocotools' loadRes raises IndexError; use corrected mode"
        )
    if one_score(tallies):
        warnings.warn("all detections have the same score: average precision then depends on their order", stacklevel=4)


def pooled(tallies: Sequence[Tally], mode: Mode, protocol: Protocol, headline: str) -> Result:
    """The summary of all images with one of its numbers as the value."""
    checked(tallies, mode)
    evaluation = accumulate(tallies, protocol)
    fields = evaluation.summary()
    if protocol.max_dets[-1] == LIVECELL.max_dets[-1]:
        fields["AFNR"] = false_negative_rate(fields[f"AR{protocol.max_dets[-1]}"], mode)
    fields = undefined_as_nan(fields, mode)
    nothing = int((evaluation.recall == -1).all())
    fields = {headline: fields[headline], **fields}
    return Result(float(fields[headline]), fields, {"no cell to be found": nothing} if nothing else {})


def of_image(one: Tally, mode: Mode, protocol: Protocol, headline: str) -> float:
    """The headline number (AP, AR or AFNR) of one image, whose detections may be none or all of one score."""
    alone = replace(protocol, areas=protocol.areas[:1], max_dets=protocol.max_dets[-1:])
    part = Tally(**{**one, "codes": np.ascontiguousarray(one["codes"][:1]), "n_gt": one["n_gt"][:, :1].copy()})
    evaluation = accumulate([part], alone)
    value = evaluation.average_precision() if headline == "AP" else evaluation.average_recall()
    if headline == "AFNR":
        return false_negative_rate(value, mode)
    return float(undefined_as_nan(value, mode))
