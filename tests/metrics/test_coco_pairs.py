"""COCO's matching finds the same pairs as comparing all of them, whatever the sizes of boxes and images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from celltable._native import matching
from celltable.geometry import rle

ALL_AREAS = np.array([[0.0, np.inf]])
THRESHOLDS = np.array([1e-12, 0.3, 0.75])


def side(prefix: str, n: int) -> dict[str, Any]:
    nothing = {f"{prefix}_{name}": None for name in ("text", "ends", "sizes", "boxes")}
    zeros = np.zeros(n, np.int32)
    return {**nothing, f"{prefix}_image": zeros, f"{prefix}_category": zeros}


def settings() -> dict[str, Any]:
    return {"categories": 1, "thresholds": THRESHOLDS, "areas": ALL_AREAS, "max_det": 10**6}


def evaluate(gt: dict[str, Any], dt: dict[str, Any], scores: NDArray[np.float64]) -> Any:
    n_gt, n_dt = len(gt["gt_image"]), len(dt["dt_image"])
    areas: dict[str, Any] = {"gt_area": np.ones(n_gt), "gt_flags": np.zeros(n_gt, np.uint8), "dt_area": np.ones(n_dt)}
    return matching.evaluate(images=1, threads=1, dt_score=scores, **gt, **dt, **areas, **settings())


def all_pairs(
    gt: NDArray[np.float64], dt: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Find all overlapping pairs of boxes with their IoU by COCO's formula on the whole matrix."""
    with np.errstate(over="ignore", invalid="ignore"):
        low = np.maximum(gt[:, None, :2], dt[None, :, :2])
        high = np.minimum((gt[:, :2] + gt[:, 2:])[:, None], (dt[:, :2] + dt[:, 2:])[None])
        width, height = np.moveaxis(high - low, -1, 0)
        shared = width * height
        union = (dt[:, 2] * dt[:, 3])[None] + (gt[:, 2] * gt[:, 3])[:, None] - shared
        iou = np.where((width > 0) & (height > 0), shared / union, 0)
    i, j = np.nonzero(iou > 0)
    return i, j, iou[i, j]


def boxes_of_all_sizes(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    sides = 10 ** rng.uniform(-2, 3, (n, 2))
    return np.hstack([rng.uniform(-300, 300, (n, 2)), sides])


@pytest.mark.parametrize("seed", range(4))
def test_boxes_of_all_sizes_match_as_by_comparing_every_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gt = boxes_of_all_sizes(rng, 150)
    near = gt[rng.permutation(150)[:100]] * rng.uniform(0.9, 1.1, (100, 4))
    dt = np.vstack([near, boxes_of_all_sizes(rng, 50)])
    gt[:3] = np.array([[-1e5, -1e5, 2e5, 2e5], [0, 0, 0, 5], [3, 3, -2, 4]])
    dt[:3] = np.array([[-9e4, -1e5, 2e5, 2e5], [1e300, 1e300, 1, 1], [5, 5, -1, -1]])
    scores = rng.permutation(len(dt)).astype(float)
    got = evaluate({**side("gt", len(gt)), "gt_boxes": gt}, {**side("dt", len(dt)), "dt_boxes": dt}, scores)
    i, j, iou = all_pairs(gt, dt)
    ones: dict[str, Any] = {
        "gt_area": np.ones(len(gt)),
        "gt_flags": np.zeros(len(gt), np.uint8),
        "dt_area": np.ones(len(dt)),
    }
    categories: dict[str, Any] = {
        "gt_category": np.zeros(len(gt), np.int32),
        "dt_category": np.zeros(len(dt), np.int32),
    }
    expected: Any = matching.match_pairs(
        dt_score=scores, gt_index=i, dt_index=j, iou=iou, **ones, **categories, **settings()
    )
    assert (expected["codes"] == 1).sum() > 60
    np.testing.assert_array_equal(got["codes"], expected["codes"])
    np.testing.assert_array_equal(got["iou"], expected["iou"])


def test_masks_of_an_image_beyond_four_gigapixels_match() -> None:
    size = (70_000, 70_000)
    last = size[0] * size[1] - 10
    masks = [rle.from_runs([start], [length], size) for start, length in ((last, 10), (last - 30, 40))]
    texts = {"text": np.frombuffer(b"".join(masks[:1]), np.uint8), "ends": np.array([0, len(masks[0])])}
    other = {"text": np.frombuffer(masks[1], np.uint8), "ends": np.array([0, len(masks[1])])}
    sizes = np.array([size], np.int32)
    gt = {**side("gt", 1), "gt_text": texts["text"], "gt_ends": texts["ends"], "gt_sizes": sizes}
    dt = {**side("dt", 1), "dt_text": other["text"], "dt_ends": other["ends"], "dt_sizes": sizes}
    got = evaluate(gt, dt, np.ones(1))
    assert got["iou"].tolist() == [0.25]
    assert got["codes"].ravel().tolist() == [1, 0, 0]
