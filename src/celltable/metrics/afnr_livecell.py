"""LIVECell average false-negative rate: the share of cells missed, mean over ten IoU thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Card, Metric, Mode, Pair, Result
from ._coco import CROWD, LIVECELL, MATCHING, STRICT, TIES, Tally, of_image, pooled, tally
from ._coco_resample import resample_recall

CARD = Card(
    title="LIVECell average false-negative rate",
    quantity="mean over IoU 0.50:0.05:0.95 of FN / (TP + FN)",
    authority="LIVECell (Sartorius); code/coco_evaluation over COCOeval of pycocotools 2.0.11",
    citation=(
        "Edlund et al., LIVECell: a large-scale dataset for label-free live cell segmentation, Nature Methods "
        "18 (2021), 1038-1045"
    ),
    doi="10.1038/s41592-021-01249-6",
    url="https://github.com/sartorius-research/LIVECell",
    formula=(
        "AFNR = 1 - AR at 2000 detections; the repository holds no code for it, the definition is that of the "
        "paper's users"
    ),
    matching=MATCHING,
    ties=TIES,
    averaging="detections of all images are ranked together; one class (useCats = 0)",
    empty="images without cells only add false positives; nothing to be found anywhere: undefined; no detections: 1",
    thresholds=(
        "numpy.linspace(.5, .95, 10); areas 18² = 324 and 31² = 961 px², both ends inclusive; at most 2000 "
        "detections an image"
    ),
    strict=STRICT.replace("a detection with a published box has the area of the box; ", "")
    + "; the AFNR of an undefined recall is 1 - (-1) = 2",
    flattening="none: masks of one side may overlap",
    regions=CROWD,
    namesakes="ar_livecell is 1 - this",
)


def count(pair: Pair, mode: Mode, **_: Any) -> Tally:
    """The verdicts of one image."""
    return tally(pair, mode, LIVECELL)


def pool(numbers: Sequence[Tally], mode: Mode, **_: Any) -> Result:
    """AFNR of all images, with every number of the LIVECell tables (as fractions; the paper prints them times 100)."""
    return pooled(numbers, mode, LIVECELL, "AFNR")


def value_of(numbers: Tally, mode: Mode, **_: Any) -> float:
    """AFNR of one image."""
    return of_image(numbers, mode, LIVECELL, "AFNR")


def resampled(numbers: Sequence[Tally], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """AFNR of resampled images."""
    return 1 - resample_recall(numbers, weights, LIVECELL)


METRIC = Metric(
    "afnr_livecell",
    CARD,
    count,
    pool,
    needs=frozenset({"scores"}),
    handles=frozenset({"regions"}),
    value_of=value_of,
    resample=resampled,
    better="lower",
)
