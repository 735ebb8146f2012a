"""COCO's matching of one image: the verdict on every detection at every threshold and area range.

The logic is that of COCOeval (pycocotools 2.0.11): in order of decreasing score, each detection takes the free cell it
overlaps most if their IoU reaches the threshold. Crowd and cells outside the area range are matched last, and the
detections that match them are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from celltable._native import matching
from celltable.plugins.metric import Mode

from ..pair import Pair
from ..side import Side
from .protocol import Protocol

Floats = NDArray[np.float64]


class Tally(TypedDict):
    """The verdicts on the detections of one or more images, sorted by image, category and decreasing score."""

    category: NDArray[np.int32]
    rank: NDArray[np.int32]
    score: Floats
    iou: Floats
    codes: NDArray[np.uint8]
    n_gt: NDArray[np.int64]
    names: tuple[str, ...]


def tally(pair: Pair, mode: Mode, protocol: Protocol) -> Tally:
    """Match one image; the result is kept with the pair for other metrics of the same protocol."""
    memo: dict[Any, Tally] = pair.__dict__.setdefault("_coco_tallies", {})
    key = (protocol, mode)
    if key not in memo:
        memo[key] = _tally(pair, mode, protocol)
    return memo[key]


def _tally(pair: Pair, mode: Mode, protocol: Protocol) -> Tally:
    count, gt_category, dt_category = _categories(pair, protocol)
    names = _class_names(pair) if protocol.use_classes and pair.has_classes else ()
    gt_columns: dict[str, Any] = {
        "gt_category": gt_category,
        "gt_area": _truth_areas(pair.gt),
        "gt_flags": _flags(pair.gt, mode),
    }
    dt_columns: dict[str, Any] = {"dt_category": dt_category, "dt_score": pair.ranking_scores}
    common: dict[str, Any] = {
        "categories": count,
        "thresholds": np.array(protocol.thresholds),
        "areas": protocol.area_ranges,
        "max_det": protocol.max_dets[-1],
    }
    if protocol.shape == "bbox":
        matched = _match_boxes(pair, gt_columns, dt_columns, common)
    else:
        table = pair.overlap
        gt_index, dt_index = table.gt_index, table.pred_index
        own, other = table.pred_areas[dt_index], table.gt_areas[gt_index]
        union = np.where(gt_columns["gt_flags"][gt_index] & 1, own, own + other - table.intersection)
        matched = matching.match_pairs(
            **gt_columns,
            **dt_columns,
            dt_area=_guess_areas(pair.pred, mode, protocol),
            gt_index=np.ascontiguousarray(gt_index, np.int64),
            dt_index=np.ascontiguousarray(dt_index, np.int64),
            iou=table.intersection / union,
            **common,
        )
    return Tally(
        category=matched["category"],
        rank=matched["rank"],
        score=matched["score"],
        iou=matched["iou"],
        codes=matched["codes"],
        n_gt=matched["n_gt"][0],
        names=names,
    )


def _match_boxes(
    pair: Pair, gt_columns: Mapping[str, Any], dt_columns: Mapping[str, Any], common: Mapping[str, Any]
) -> Any:
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
        **gt_columns,
        **dt_columns,
        **none,
        **common,
    )


def _categories(pair: Pair, protocol: Protocol) -> tuple[int, NDArray[np.int32], NDArray[np.int32]]:
    if not protocol.use_classes or not pair.has_classes:
        return 1, np.zeros(len(pair.gt), np.int32), np.zeros(len(pair.pred), np.int32)
    return len(_class_names(pair)), _codes(pair.gt), _codes(pair.pred)


def _class_names(pair: Pair) -> tuple[str, ...]:
    """Return the class names that the codes of either side refer to."""
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
    """Return the areas that loadRes uses if boxes are compared: of the published box if any, else of the mask."""
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
