"""LIVECell average precision: COCO's with up to 2000 detections an image and the areas of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Card, Metric, Mode, Pair, Result
from ._coco import CROWD, LIVECELL, MATCHING, STRICT, TIES, Tally, of_image, pooled, tally
from ._coco_resample import resample

CARD = Card(
    title="LIVECell average precision",
    quantity="mean over IoU 0.50:0.05:0.95 and 101 recalls of the interpolated precision",
    authority="LIVECell (Sartorius); code/coco_evaluation over COCOeval of pycocotools 2.0.11",
    citation=(
        "Edlund et al., LIVECell: a large-scale dataset for label-free live cell segmentation, Nature Methods "
        "18 (2021), 1038-1045"
    ),
    doi="10.1038/s41592-021-01249-6",
    url="https://github.com/sartorius-research/LIVECell",
    formula=(
        "AP = mean over t, r of the highest precision at a recall of r or more; AP50, AP75; APs, APm, APl by area; "
        "per IoU"
    ),
    matching=MATCHING,
    ties=TIES,
    averaging="detections of all images are ranked together; one class (useCats = 0)",
    empty="images without cells only add false positives; nothing to be found anywhere: undefined; no detections: 0",
    thresholds=(
        "numpy.linspace(.5, .95, 10); areas 18² = 324 and 31² = 961 px², both ends inclusive; at most 2000 "
        "detections an image"
    ),
    strict=STRICT.replace("a detection with a published box has the area of the box; ", ""),
    flattening="none: masks of one side may overlap",
    regions=CROWD,
    namesakes=(
        "ap_coco allows 100 detections: on dense images it cannot reach 1, and its areas call nearly every cell small"
    ),
)


def count(pair: Pair, mode: Mode, **_: Any) -> Tally:
    """The verdicts of one image."""
    return tally(pair, mode, LIVECELL)


def pool(numbers: Sequence[Tally], mode: Mode, **_: Any) -> Result:
    """AP of all images, with every number of the LIVECell tables (as fractions; the paper prints them times 100)."""
    return pooled(numbers, mode, LIVECELL, "AP")


def value_of(numbers: Tally, mode: Mode, **_: Any) -> float:
    """AP of one image."""
    return of_image(numbers, mode, LIVECELL, "AP")


def resampled(numbers: Sequence[Tally], weights: NDArray[Any], mode: Mode, **_: Any) -> NDArray[np.float64]:
    """AP of resampled images."""
    return resample(numbers, weights, LIVECELL)


METRIC = Metric(
    "ap_livecell",
    CARD,
    count,
    pool,
    needs=frozenset({"scores"}),
    handles=frozenset({"regions"}),
    value_of=value_of,
    resample=resampled,
)
