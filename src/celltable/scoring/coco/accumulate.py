"""COCO's precision and recall over all images, from the matches of each image, and every number of its summary."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from celltable._native import matching
from celltable.errors import MetricError
from celltable.plugins.metric import Mode

from .matching import Floats, Tally
from .protocol import Protocol

SUFFIXES = {"all": "", "small": "s", "medium": "m", "large": "l"}


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """COCOeval.eval: precision and scores (T, R, K, A, M), recall (T, K, A, M); -1 where there are no cells to find."""

    protocol: Protocol
    precision: Floats
    recall: Floats
    scores: Floats
    names: tuple[str, ...] = field(default=())

    def average_precision(
        self, threshold: int | None = None, area: int = 0, limit: int = -1, category: int | None = None
    ) -> float:
        """Average the precision over thresholds, recalls and classes; -1 if nothing is defined."""
        block = self.precision[:, :, :, area, limit]
        return mean_defined(_part(block, threshold, category, axis=2))

    def average_recall(
        self, threshold: int | None = None, area: int = 0, limit: int = -1, category: int | None = None
    ) -> float:
        """Average the final recall over thresholds and classes; -1 if nothing is defined."""
        block = self.recall[:, :, area, limit]
        return mean_defined(_part(block, threshold, category, axis=1))

    def at(self, threshold: float) -> int | None:
        """Return the position of a threshold, or None."""
        where = np.flatnonzero(np.array(self.protocol.thresholds) == threshold)
        return int(where[0]) if len(where) else None

    def summary(self) -> dict[str, Any]:
        """Return every number of COCOeval.summarize, with the means per IoU and per class."""
        protocol = self.protocol
        fields: dict[str, Any] = {"AP": self.average_precision()}
        for name, t in (("AP50", 0.5), ("AP75", 0.75)):
            where = self.at(t)
            fields[name] = -1.0 if where is None else self.average_precision(where)
        areas = [(a, SUFFIXES.get(name, f"_{name}")) for a, (name, _, _) in enumerate(protocol.areas)]
        fields.update({f"AP{s}": self.average_precision(area=a) for a, s in areas[1:]})
        fields.update({f"AR{n}": self.average_recall(limit=m) for m, n in enumerate(protocol.max_dets)})
        fields.update({f"AR{s}": self.average_recall(area=a) for a, s in areas[1:]})
        steps = range(len(protocol.thresholds))
        fields["AP_per_iou"] = [self.average_precision(t) for t in steps]
        fields["AR_per_iou"] = [self.average_recall(t) for t in steps]
        if len(self.names) > 1:
            fields["AP_per_class"] = {n: self.average_precision(category=k) for k, n in enumerate(self.names)}
            fields["AR_per_class"] = {n: self.average_recall(category=k) for k, n in enumerate(self.names)}
        return fields


def _part(block: Floats, threshold: int | None, category: int | None, axis: int) -> Floats:
    if category is not None:
        block = np.take(block, [category], axis=axis)
    return block if threshold is None else block[[threshold]]


def mean_defined(block: Floats) -> float:
    """Average the values other than -1, in the reference's order of summation; -1 if there are none."""
    defined = block[block > -1]
    return float(np.mean(defined)) if len(defined) else -1.0


def accumulate(tallies: Sequence[Tally], protocol: Protocol, threads: int = 1) -> Evaluation:
    """Compute precision and recall over all images; the tallies are in the order of the images."""
    joined = join(tallies, protocol)
    precision, recall, scores = matching.accumulate(
        score=joined["score"],
        category=joined["category"],
        rank=joined["rank"],
        codes=joined["codes"],
        n_gt=joined["n_gt"],
        max_dets=list(protocol.max_dets),
        recalls=np.array(protocol.recalls),
        threads=threads,
    )
    return Evaluation(protocol, precision, recall, scores, joined["names"])


def join(tallies: Sequence[Tally], protocol: Protocol) -> Tally:
    """Join the tallies of several images; numbers of cells are summed."""
    shape = (len(protocol.areas), len(protocol.thresholds), 0)
    if len(tallies) == 1:
        return tallies[0]
    if not tallies:
        nothing = np.zeros(0)
        whole = np.zeros(0, np.int32)
        return Tally(
            category=whole,
            rank=whole,
            score=nothing,
            iou=nothing,
            codes=np.zeros(shape, np.uint8),
            n_gt=np.zeros((1, len(protocol.areas)), np.int64),
            names=(),
        )
    categories = max(len(t["n_gt"]) for t in tallies)
    n_gt = np.zeros((categories, len(protocol.areas)), np.int64)
    for t in tallies:
        n_gt[: len(t["n_gt"])] += t["n_gt"]
    return Tally(
        category=np.concatenate([t["category"] for t in tallies]),
        rank=np.concatenate([t["rank"] for t in tallies]),
        score=np.concatenate([t["score"] for t in tallies]),
        iou=np.concatenate([t["iou"] for t in tallies]),
        codes=np.concatenate([t["codes"] for t in tallies], axis=2),
        n_gt=n_gt,
        names=max((t["names"] for t in tallies), key=len),
    )


def undefined_as_nan(value: Any, mode: Mode) -> Any:
    """Replace -1, which marks an undefined number, by NaN in corrected mode, also in lists and mappings."""
    if mode == "strict":
        return value
    if isinstance(value, dict):
        return {k: undefined_as_nan(v, mode) for k, v in value.items()}
    if isinstance(value, list):
        return [undefined_as_nan(v, mode) for v in value]
    return float("nan") if value == -1 else value


def false_negative_rate(recall: float, mode: Mode) -> float:
    """Compute LIVECell's AFNR, 1 - recall; in strict mode an undefined recall (-1) gives 2.

    >>> false_negative_rate(0.75, "strict"), false_negative_rate(-1, "strict"), false_negative_rate(-1, "corrected")
    (0.25, 2, nan)
    """
    return float("nan") if mode == "corrected" and recall == -1 else 1 - recall


def one_score(tallies: Sequence[Tally]) -> bool:
    """Return whether two or more detections all have the same score, so that AP depends on their order."""
    scores = np.concatenate([t["score"] for t in tallies]) if tallies else np.zeros(0)
    return len(scores) > 1 and bool((scores == scores[0]).all())


def checked(tallies: Sequence[Tally], mode: Mode) -> None:
    """Raise where the reference does, and warn if the score depends on the order of the detections.

    Raises
    ------
    MetricError
        In strict mode, if there are no detections at all.
    """
    if mode == "strict" and not any(len(t["score"]) for t in tallies):
        raise MetricError(
            "there are no detections at all, and pycocotools' loadRes then raises IndexError; use corrected mode"
        )
    if one_score(tallies):
        warnings.warn("all detections have the same score: average precision then depends on their order", stacklevel=4)
