"""COCO's evaluation of scored detections: its parameters, and the verdicts of one image.

The logic is that of COCOeval (pycocotools 2.0.11): detections by falling score, each takes the free cell it overlaps
most if their IoU reaches the threshold; crowd and cells outside the area range are matched last, and their detections
are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from celltable._native import matching
from celltable.errors import MetricError
from celltable.plugins.metric import Mode

from ..pair import Pair
from ..side import Side

Floats = NDArray[np.float64]
Shape = Literal["segm", "bbox"]


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
        union = np.where(truth["gt_flags"][gt_index] & 1, own, own + other - table.intersection)
        found = matching.match_pairs(
            **truth,
            **guess,
            dt_area=_guess_areas(pair.pred, mode, protocol),
            gt_index=np.ascontiguousarray(gt_index, np.int64),
            dt_index=np.ascontiguousarray(dt_index, np.int64),
            iou=table.intersection / union,
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
    return pair.gt.class_names or pair.pred.class_names


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
