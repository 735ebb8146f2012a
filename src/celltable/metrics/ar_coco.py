"""COCO average recall: the share of cells found, mean over ten IoU thresholds and the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Card, Metric, Mode, Pair, Result
from ._coco import ABOUT, COCO, CROWD, MATCHING, STRICT, TIES, Shape, Tally, of_image, pooled, protocol_of, tally
from ._coco_resample import resample_recall

CARD = Card(
    title="COCO average recall",
    quantity="mean over IoU 0.50:0.05:0.95 and classes of the recall that all allowed detections reach",
    authority="Microsoft COCO; COCOeval of pycocotools 2.0.11",
    citation="Lin et al., Microsoft COCO: common objects in context, ECCV 2014, LNCS 8693, 740-755",
    doi="10.1007/978-3-319-10602-1_48",
    url="https://github.com/ppwwyyxx/cocoapi",
    formula=(
        "AR = mean over t, class of TP / cells at the largest limit of detections; AR1, AR10 at the smaller; ARs, "
        "ARm, ARl by area"
    ),
    matching=MATCHING,
    ties=TIES,
    averaging=(
        "detections of all images are ranked together, per class; classes count alike; a class without cells is left "
        "out"
    ),
    empty="images without cells only add false positives; nothing to be found anywhere: undefined; no detections: 0",
    thresholds=(
        "numpy.linspace(.5, .95, 10); areas 32² and 96² px², both ends inclusive; at most 1, 10, 100 detections an "
        "image"
    ),
    strict=STRICT,
    flattening="none: masks of one side may overlap",
    regions=CROWD,
    namesakes="ar_livecell allows 2000 detections and has other areas",
)


def count(
    pair: Pair, mode: Mode, shape: Shape = "segm", max_dets: Sequence[int] = COCO.max_dets, use_classes: bool = True
) -> Tally:
    """The verdicts of one image."""
    return tally(pair, mode, protocol_of(shape, max_dets, use_classes))


def pool(
    numbers: Sequence[Tally],
    mode: Mode,
    shape: Shape = "segm",
    max_dets: Sequence[int] = COCO.max_dets,
    use_classes: bool = True,
) -> Result:
    """AR of all images, with every number of COCOeval.summarize."""
    return pooled(numbers, mode, protocol_of(shape, max_dets, use_classes), f"AR{max(max_dets)}")


def value_of(
    numbers: Tally,
    mode: Mode,
    shape: Shape = "segm",
    max_dets: Sequence[int] = COCO.max_dets,
    use_classes: bool = True,
) -> float:
    """AR of one image."""
    return of_image(numbers, mode, protocol_of(shape, max_dets, use_classes), "AR")


def resampled(
    numbers: Sequence[Tally],
    weights: NDArray[Any],
    mode: Mode,
    shape: Shape = "segm",
    max_dets: Sequence[int] = COCO.max_dets,
    use_classes: bool = True,
) -> NDArray[np.float64]:
    """AR of resampled images."""
    return resample_recall(numbers, weights, protocol_of(shape, max_dets, use_classes))


METRIC = Metric(
    "ar_coco",
    CARD,
    count,
    pool,
    needs=frozenset({"scores"}),
    options={"shape": "segm", "max_dets": COCO.max_dets, "use_classes": True},
    about=ABOUT,
    handles=frozenset({"regions"}),
    value_of=value_of,
    resample=resampled,
)
