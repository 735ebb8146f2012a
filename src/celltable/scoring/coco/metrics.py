"""The COCO family of metrics: each is one number of the same summary, with COCO's or LIVECell's parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from celltable.plugins import Option
from celltable.plugins.metric import Card, Metric, Mode, Result

from ..pair import Pair
from .accumulate import accumulate, checked, false_negative_rate, undefined_as_nan
from .matching import Tally, tally
from .protocol import COCO, LIVECELL, Protocol, protocol_of
from .resample import resample_precision, resample_recall

NEEDS: Final = frozenset({"scores"})
HANDLES: Final = frozenset({"regions"})
OPTIONS: Final = (
    Option("shape", "segm", "whether masks or boxes (published ones, if any) are compared", choices=("segm", "bbox")),
    Option(
        "max_dets", COCO.max_dets, "limits on detections per image and class; AP uses the largest", several=True, low=1
    ),
    Option("use_classes", True, "set to no to pool all classes (useCats = 0)"),
)

CROWD = (
    "crowd is matched last, may absorb many detections (overlap over the detection's own area) and is neither found "
    "nor missed; strict: ignore marks are not read, as COCO overwrites them; corrected: ignored cells are treated as "
    "crowd"
)
MATCHING = (
    "in order of decreasing score, each detection takes the free cell of its class with the highest IoU of t or more; "
    "detections that match crowd or a cell outside the area range, or are unmatched and outside it themselves, are not "
    "counted"
)
TIES = (
    "an IoU of exactly t is a hit; of cells with the same IoU, the last wins; equal scores keep their order (by image, "
    "then as listed), so AP depends on the order if many scores are equal"
)
STRICT = (
    "an annotation with id 0 takes its detection but never counts as found; a detection with a published box has "
    "the area of the box; ignore marks are not read; no detections at all are an error; undefined numbers are -1 "
    "(corrected: NaN)"
)

COCO_CARD: Final = Card(
    title="COCO",
    quantity="",
    authority="Microsoft COCO; COCOeval of pycocotools 2.0.11",
    citation="Lin et al., Microsoft COCO: common objects in context, ECCV 2014, LNCS 8693, 740-755",
    doi="10.1007/978-3-319-10602-1_48",
    url="https://github.com/ppwwyyxx/cocoapi",
    formula="",
    matching=MATCHING,
    ties=TIES,
    averaging=(
        "detections of all images are ranked together, per class; mean over classes; a class without cells is left out"
    ),
    empty="images without cells only add false positives; no cells at all: undefined; no detections: 0",
    thresholds=(
        "numpy.linspace(.5, .95, 10); areas 32² and 96² px², both ends inclusive; at most 1, 10, 100 detections per "
        "image"
    ),
    strict=STRICT,
    flattening="none: masks of one side may overlap",
    regions=CROWD,
)
LIVECELL_CARD: Final = replace(
    COCO_CARD,
    title="LIVECell",
    authority="LIVECell (Sartorius); code/coco_evaluation over COCOeval of pycocotools 2.0.11",
    citation=(
        "Edlund et al., LIVECell: a large-scale dataset for label-free live cell segmentation, Nature Methods "
        "18 (2021), 1038-1045"
    ),
    doi="10.1038/s41592-021-01249-6",
    url="https://github.com/sartorius-research/LIVECell",
    averaging="detections of all images are ranked together; one class (useCats = 0)",
    thresholds=(
        "numpy.linspace(.5, .95, 10); areas 18² = 324 and 31² = 961 px², both ends inclusive; at most 2000 "
        "detections per image"
    ),
    strict=STRICT.replace("a detection with a published box has the area of the box; ", ""),
)


@dataclass(frozen=True, slots=True)
class Number:
    """One number of the summary: average precision, average recall, or LIVECell's false-negative rate.

    `protocol` makes the parameters of COCO from a metric's options.
    """

    name: Literal["AP", "AR", "AFNR"]
    protocol: Callable[..., Protocol]

    def count(self, pair: Pair, mode: Mode, **options: Any) -> Tally:
        """Match one image."""
        return tally(pair, mode, self.protocol(**options))

    def pool(self, numbers: Sequence[Tally], mode: Mode, **options: Any) -> Result:
        """Compute the number over all images, with all others of COCOeval.summarize (fractions, not percent)."""
        protocol = self.protocol(**options)
        result = _pooled(numbers, mode, protocol, f"AR{protocol.max_dets[-1]}" if self.name == "AR" else self.name)
        if self._unread(protocol, mode):
            return Result(-1.0, {**result.fields, "AP": -1.0}, result.skipped)
        return result

    def value_of(self, numbers: Tally, mode: Mode, **options: Any) -> float:
        """Compute the number of one image."""
        protocol = self.protocol(**options)
        return -1.0 if self._unread(protocol, mode) else _of_image(numbers, mode, protocol, self.name)

    def _unread(self, protocol: Protocol, mode: Mode) -> bool:
        """Return whether the reference does not read AP: _summarize(1) uses maxDets=100 whatever the parameters."""
        return self.name == "AP" and mode == "strict" and 100 not in protocol.max_dets

    def resample(
        self, numbers: Sequence[Tally], weights: NDArray[Any], mode: Mode, **options: Any
    ) -> NDArray[np.float64]:
        """Compute the number of resampled images, float64 (B,)."""
        protocol = self.protocol(**options)
        if self.name == "AP":
            return resample_precision(numbers, weights, protocol)
        recall = resample_recall(numbers, weights, protocol)
        return recall if self.name == "AR" else 1 - recall


def _pooled(tallies: Sequence[Tally], mode: Mode, protocol: Protocol, headline: str) -> Result:
    """Summarise all images; `headline` names the number that is the value."""
    checked(tallies, mode)
    evaluation = accumulate(tallies, protocol)
    fields = evaluation.summary()
    if protocol == LIVECELL:
        fields["AFNR"] = false_negative_rate(fields[f"AR{protocol.max_dets[-1]}"], mode)
    fields = undefined_as_nan(fields, mode)
    nothing = int((evaluation.recall == -1).all())
    fields = {headline: fields[headline], **fields}
    return Result(float(fields[headline]), fields, {"no cell to find": nothing} if nothing else {})


def _of_image(one: Tally, mode: Mode, protocol: Protocol, headline: str) -> float:
    """Compute the headline number (AP, AR or AFNR) of one image, which may have no detections or equal scores."""
    alone = replace(protocol, areas=protocol.areas[:1], max_dets=protocol.max_dets[-1:])
    part = Tally(**{**one, "codes": np.ascontiguousarray(one["codes"][:1]), "n_gt": one["n_gt"][:, :1].copy()})
    evaluation = accumulate([part], alone)
    value = evaluation.average_precision() if headline == "AP" else evaluation.average_recall()
    if headline == "AFNR":
        return false_negative_rate(value, mode)
    return float(undefined_as_nan(value, mode))


def _coco(
    shape: Literal["segm", "bbox"] = "segm", max_dets: Sequence[int] = COCO.max_dets, use_classes: bool = True
) -> Protocol:
    return protocol_of(shape, max_dets, use_classes)


def _livecell(**_: Any) -> Protocol:
    return LIVECELL


def coco_metric(metric: str, number: Literal["AP", "AR"], card: Card) -> Metric:
    """Make a metric with COCO's parameters, which its options change."""
    n = Number(number, _coco)
    return Metric(
        metric, card, n.count, n.pool, NEEDS, OPTIONS, HANDLES, value_of=n.value_of, resample=n.resample
    )  # fmt: skip


def livecell_metric(metric: str, number: Literal["AP", "AR", "AFNR"], card: Card) -> Metric:
    """Make a metric with LIVECell's parameters, which are fixed; for AFNR, a rate of missed cells, lower is better."""
    n = Number(number, _livecell)
    better: Literal["higher", "lower"] = "lower" if number == "AFNR" else "higher"
    return Metric(
        metric, card, n.count, n.pool, NEEDS, handles=HANDLES, value_of=n.value_of, resample=n.resample, better=better
    )  # fmt: skip
