"""COCO average precision: area under the sampled precision envelope, mean over ten IoU thresholds and the classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import Card, Metric, Mode, Pair, Result
from ._coco import ABOUT, COCO, CROWD, MATCHING, STRICT, TIES, Shape, Tally, of_image, pooled, protocol_of, tally
from ._coco_resample import resample

CARD = Card(
    title="COCO average precision",
    quantity="mean over IoU 0.50:0.05:0.95, 101 recalls and classes of the interpolated precision",
    authority="Microsoft COCO; COCOeval of pycocotools 2.0.11",
    citation="Lin et al., Microsoft COCO: common objects in context, ECCV 2014, LNCS 8693, 740-755",
    doi="10.1007/978-3-319-10602-1_48",
    url="https://github.com/ppwwyyxx/cocoapi",
    formula=(
        "AP = mean over t, r, class of the highest precision at a recall of r or more; AP50, AP75; APs, APm, APl by "
        "area"
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
    strict=STRICT + "; AP is read at 100 detections, so it is -1 where max_dets does not list 100",
    flattening="none: masks of one side may overlap",
    regions=CROWD,
    namesakes="ap_livecell allows 2000 detections and has other areas; ap_dsb2018 and ap_stardist know no scores",
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
    """AP of all images, with every number of COCOeval.summarize."""
    result = pooled(numbers, mode, protocol_of(shape, max_dets, use_classes), "AP")
    if mode == "strict" and 100 not in max_dets:  # _summarize(1) asks for maxDets=100 whatever the parameters are
        return Result(-1.0, {**result.fields, "AP": -1.0}, result.skipped)
    return result


def value_of(
    numbers: Tally,
    mode: Mode,
    shape: Shape = "segm",
    max_dets: Sequence[int] = COCO.max_dets,
    use_classes: bool = True,
) -> float:
    """AP of one image."""
    if mode == "strict" and 100 not in max_dets:
        return -1.0
    return of_image(numbers, mode, protocol_of(shape, max_dets, use_classes), "AP")


def resampled(
    numbers: Sequence[Tally],
    weights: NDArray[Any],
    mode: Mode,
    shape: Shape = "segm",
    max_dets: Sequence[int] = COCO.max_dets,
    use_classes: bool = True,
) -> NDArray[np.float64]:
    """AP of resampled images."""
    return resample(numbers, weights, protocol_of(shape, max_dets, use_classes))


METRIC = Metric(
    "ap_coco",
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
