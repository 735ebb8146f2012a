"""COCO's scored matching and its accumulation, in native code.

Verdicts are 0 (false positive), 1 (true positive), 2 (ignored). Flags of ground truth: 1 crowd, 2 an annotation id that
the reference never counts as matched, 4 left out (neither found nor missed). ValueError names what is wrong with an
argument.
"""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

class Verdicts(TypedDict):
    """The detections kept, by image, category and descending score.

    row: position in the input; rank: place within its image and category; iou: of the match at the first threshold and
    area range (0 without one); codes: (areas, thresholds, kept); n_gt: (images, categories, areas) cells that count.
    """

    row: NDArray[np.int64]
    image: NDArray[np.int32]
    category: NDArray[np.int32]
    rank: NDArray[np.int32]
    score: NDArray[np.float64]
    iou: NDArray[np.float64]
    codes: NDArray[np.uint8]
    n_gt: NDArray[np.int64]

def evaluate(
    *,
    images: int,
    categories: int,
    gt_image: NDArray[np.int32],
    gt_category: NDArray[np.int32],
    gt_area: NDArray[np.float64],
    gt_flags: NDArray[np.uint8],
    gt_text: NDArray[np.uint8] | None,
    gt_ends: NDArray[np.int64] | None,
    gt_sizes: NDArray[np.int32] | None,
    gt_boxes: NDArray[np.float64] | None,
    dt_image: NDArray[np.int32],
    dt_category: NDArray[np.int32],
    dt_score: NDArray[np.float64],
    dt_area: NDArray[np.float64] | None,
    dt_text: NDArray[np.uint8] | None,
    dt_ends: NDArray[np.int64] | None,
    dt_sizes: NDArray[np.int32] | None,
    dt_boxes: NDArray[np.float64] | None,
    thresholds: NDArray[np.float64],
    areas: NDArray[np.float64],
    max_det: int,
    threads: int,
) -> Verdicts:
    """Match all images by their masks or boxes, the same on both sides.

    Masks are compressed counts in one array of bytes: text uint8, ends int64 (n + 1,), sizes (n, 2).

    Rows with a negative image or category are left out. Without dt_area, the mask's own area is used.
    """

def match_pairs(
    *,
    categories: int,
    gt_category: NDArray[np.int32],
    gt_area: NDArray[np.float64],
    gt_flags: NDArray[np.uint8],
    dt_category: NDArray[np.int32],
    dt_score: NDArray[np.float64],
    dt_area: NDArray[np.float64],
    gt_index: NDArray[np.int64],
    dt_index: NDArray[np.int64],
    iou: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    areas: NDArray[np.float64],
    max_det: int,
) -> Verdicts:
    """Match one image from the IoU of the pairs that overlap."""

def accumulate(
    *,
    score: NDArray[np.float64],
    category: NDArray[np.int32],
    rank: NDArray[np.int32],
    codes: NDArray[np.uint8],
    n_gt: NDArray[np.int64],
    max_dets: list[int],
    recalls: NDArray[np.float64],
    threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute COCOeval's precision (T, R, K, A, M), recall (T, K, A, M) and scores (T, R, K, A, M)."""

def resample(
    *,
    score: NDArray[np.float64],
    category: NDArray[np.int32],
    image: NDArray[np.int32],
    codes: NDArray[np.uint8],
    n_gt: NDArray[np.int64],
    weights: NDArray[np.int64],
    recalls: NDArray[np.float64],
    spacing: float,
    threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute precision (B, T, R, K) and recall (B, T, K) of one area range for each row of weights (B, images).

    codes is (T, n), n_gt (images, K). Detections come in the order of images; image i is listed weights[b, i] times in
    a row. The value is -1 without cells of a class; `spacing` is added to the denominators of precision.
    """
