"""COCO's evaluation of whole data sets as columns: one row per annotation, but no Python object per annotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable._native import matching
from celltable.errors import InputError, MetricError
from celltable.geometry.masks import RunLengths
from celltable.plugins.metric import Mode
from celltable.work import default_workers

from .accumulate import Evaluation
from .protocol import Protocol


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """One side of a data set: one row per annotation or detection, in any order.

    Attributes
    ----------
    image, category
        int32 (n,): positions in lists of images and of categories that both sides share, in ascending order of
        their ids; a row with a negative position is left out.
    masks, sizes
        If masks are compared: compressed COCO run lengths, and int32 (n, 2) height and width of each image.
    boxes
        If boxes are compared: float64 (n, 4) x, y, width, height.
    area
        float64 (n,) px²: of ground truth as published; of detections, None for the area of their mask.
    score
        float64 (n,): confidence of detections.
    crowd, id_zero
        uint8 (n,), of ground truth: crowd regions, and annotations with id 0.
    """

    image: NDArray[np.int32]
    category: NDArray[np.int32]
    masks: RunLengths | None = None
    sizes: NDArray[np.int32] | None = None
    boxes: NDArray[np.float64] | None = None
    area: NDArray[np.float64] | None = None
    score: NDArray[np.float64] | None = None
    crowd: NDArray[np.uint8] | None = None
    id_zero: NDArray[np.uint8] | None = None


def evaluate(
    gt: Annotations,
    dt: Annotations,
    images: int,
    names: Sequence[str],
    protocol: Protocol,
    mode: Mode,
    threads: int | None = None,
) -> Evaluation:
    """Compute COCOeval's arrays from two sides; rows of one image and category are used in the given order."""
    threads = default_workers() if threads is None else threads
    if not protocol.use_classes:
        gt, dt, names = _pooled(gt), _pooled(dt), names[:1] or ("all",)
    if dt.score is None:
        raise MetricError("the detections have no scores; expected a number for each")
    if gt.area is None:
        raise MetricError("the ground truth has no areas; expected COCO's area of each annotation")
    flags = np.zeros(len(gt.image), np.uint8) if gt.crowd is None else gt.crowd.copy()
    if mode == "strict" and gt.id_zero is not None:
        flags |= 2 * gt.id_zero
    try:
        matched = matching.evaluate(
            images=images,
            categories=max(len(names), 1),
            gt_image=gt.image,
            gt_category=gt.category,
            gt_area=gt.area,
            gt_flags=flags,
            dt_image=dt.image,
            dt_category=dt.category,
            dt_score=dt.score,
            dt_area=dt.area,
            thresholds=np.array(protocol.thresholds),
            areas=protocol.area_ranges,
            max_det=protocol.max_dets[-1],
            threads=threads,
            **_shapes("gt", gt),
            **_shapes("dt", dt),
        )
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    arrays = matching.accumulate(
        score=matched["score"],
        category=matched["category"],
        rank=matched["rank"],
        codes=matched["codes"],
        n_gt=matched["n_gt"].sum(axis=0),
        max_dets=list(protocol.max_dets),
        recalls=np.array(protocol.recalls),
        threads=threads,
    )
    return Evaluation(protocol, *arrays, tuple(names))


def _pooled(side: Annotations) -> Annotations:
    """Treat all categories as one, in the order of the reference: by category, then as listed."""
    kept = side.category >= 0
    first = side.category[kept][:1]
    if kept.all() and (side.category == (first[0] if len(first) else 0)).all():
        return replace(side, category=np.zeros(len(side.category), np.int32))
    order = np.argsort(side.category, kind="stable")
    category = np.where(side.category[order] >= 0, 0, -1).astype(np.int32)
    columns: dict[str, Any] = {"image": side.image[order], "category": category}
    for name in ("sizes", "boxes", "area", "score", "crowd", "id_zero"):
        column = getattr(side, name)
        columns[name] = None if column is None else np.ascontiguousarray(column[order])
    if side.masks is not None:
        columns["masks"] = side.masks.take(order)
    return Annotations(**columns)


def _shapes(prefix: str, side: Annotations) -> dict[str, Any]:
    masks = side.masks
    return {
        f"{prefix}_text": None if masks is None else masks.data,
        f"{prefix}_ends": None if masks is None else masks.offsets,
        f"{prefix}_sizes": side.sizes,
        f"{prefix}_boxes": side.boxes,
    }
