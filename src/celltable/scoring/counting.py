"""Counting: what a run computes per image, as numbers small enough to send between processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from celltable.errors import MetricError
from celltable.plugins.metric import Metric, Mode

from .breakdown import by_class, by_size
from .pair import Pair
from .remarks import Remarks, remarks_of
from .selection import lacking

Partial = Literal["skip", "score"]


@dataclass(frozen=True, slots=True)
class Unscored:
    """Why a metric has no numbers for an image."""

    reason: str


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """What one image contributes to an evaluation.

    Attributes
    ----------
    image_id, meta
        The image and its columns.
    numbers
        What each metric counted, by metric; `Unscored` if it does not apply, None if the image is only partially
        annotated and the metric counts false positives.
    parts
        The same for each group of cells, by (column, group): ("size", "0-324 px²").
    n_gt, n_pixels
        Ground-truth cells, and pixels of the image.
    scores
        The smallest and the largest score of the predictions, and their number; None without scores.
    exhaustive
        Whether every cell of the image is annotated.
    remarks
        What to note about the masks of both sides.
    """

    image_id: str
    meta: Mapping[str, Any]
    numbers: dict[str, Any]
    parts: dict[tuple[str, str], dict[str, Any]]
    n_gt: int
    n_pixels: int
    scores: tuple[float, float, int] | None
    exhaustive: bool
    remarks: Remarks


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compute from every pair.

    Attributes
    ----------
    metrics, mode, options
        The metrics, strict or corrected, and the options of each metric by its name.
    partial
        Whether metrics that count false positives "skip" or "score" partially annotated images.
    cell_columns
        Columns of cells to break scores down by: "size", "class".
    size_edges
        Areas in px² that separate the groups of "size".
    strictly
        Raise if a metric does not apply, instead of recording why.
    """

    metrics: tuple[Metric, ...]
    mode: Mode
    options: Mapping[str, Mapping[str, Any]]
    partial: Partial
    cell_columns: tuple[str, ...]
    size_edges: tuple[float, ...]
    strictly: bool

    def count(self, pair: Pair) -> ImageCounts | None:
        """Count one pair; None for an ignored image."""
        if pair.ignored:
            return None
        if pair.gt.map is not None and pair.pred.map is not None and pair.gt.size == pair.pred.size:
            _ = pair.overlap  # reads both maps once, before a metric reads the cells of either
        parts = {(c, g): self._numbers(part, False) for c in self.cell_columns for g, part in self._split(pair, c)}
        scores = pair.pred.scores
        return ImageCounts(
            image_id=pair.image_id,
            meta=pair.meta,
            numbers=self._numbers(pair, self.strictly),
            parts=parts,
            n_gt=len(pair.gt),
            n_pixels=pair.size[0] * pair.size[1],
            scores=(float(scores.min()), float(scores.max()), len(scores))
            if scores is not None and len(scores)
            else None,
            exhaustive=pair.exhaustive,
            remarks=remarks_of(pair, pair.seen(self.mode)),
        )

    def _numbers(self, pair: Pair, strictly: bool) -> dict[str, Any]:
        numbers: dict[str, Any] = {}
        for metric in self.metrics:
            reason = lacking(metric, pair)
            if reason is None and not pair.exhaustive and self.partial == "skip" and "partial" not in metric.handles:
                numbers[metric.name] = None
                continue
            try:
                if reason is not None:
                    raise MetricError(f"{metric.name} cannot score image {pair.image_id}: {reason}")
                numbers[metric.name] = metric.count(pair, self.mode, **self.options[metric.name])
            except MetricError as exc:
                if strictly:
                    raise
                numbers[metric.name] = Unscored(str(exc) if reason is None else reason)
        return numbers

    def _split(self, pair: Pair, column: str) -> Iterator[tuple[str, Pair]]:
        return by_size(pair, self.size_edges) if column == "size" else by_class(pair)
