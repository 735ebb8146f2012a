"""Pooling: turn the numbers of all images into scores, overall and per group, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from celltable.errors import MetricError, NotFoundError
from celltable.plugins.metric import Metric

from .bootstrap import interval, replicates
from .breakdown import group_labels, natural
from .counting import ImageCounts, Plan, Unscored
from .scores import Group, Score


@dataclass(frozen=True, slots=True)
class Pooling:
    """The images of a run, to be pooled.

    Attributes
    ----------
    plan, images
        What was computed, and the counts of each image in natural order of their ids.
    ignored
        How many images were marked ignore.
    by
        Columns to break scores down by.
    rounds, seed
        Of the bootstrap over images.
    """

    plan: Plan
    images: Sequence[ImageCounts]
    ignored: int
    by: tuple[str, ...]
    rounds: int
    seed: int

    def scores(self) -> tuple[dict[str, Score], dict[str, str]]:
        """Pool every metric; return the scores, and why the other metrics do not apply.

        Raises
        ------
        MetricError
            If a metric that was selected by name has no image to score.
        """
        scores: dict[str, Score] = {}
        unavailable: dict[str, str] = {}
        for metric in self.plan.metrics:
            reason = self._reason(metric)
            if reason is None:
                scores[metric.name] = self._score(metric)
            else:
                unavailable[metric.name] = reason
        return scores, unavailable

    def _reason(self, metric: Metric) -> str | None:
        """Say why the metric does not apply to these images; None if it does."""
        entries = [image.numbers[metric.name] for image in self.images]
        unscored = next((e.reason for e in entries if isinstance(e, Unscored)), None)
        if unscored is not None or any(e is not None for e in entries):
            return unscored
        reason = "every image is partially annotated, so false positives are unknown"
        if self.plan.strictly:
            raise MetricError(f"{metric.name}: {reason}; partial='score' scores them anyway")
        return reason

    def _score(self, metric: Metric) -> Score:
        name, mode, options = metric.name, self.plan.mode, self.plan.options[metric.name]
        kept = [image for image in self.images if image.numbers[name] is not None]
        numbers = [image.numbers[name] for image in kept]
        result = metric.pool(numbers, mode, **options)
        skipped = dict(result.skipped)
        if len(kept) < len(self.images):
            skipped["partially annotated images"] = len(self.images) - len(kept)
        if self.ignored:
            skipped["ignored images"] = self.ignored
        return Score(
            name=name,
            value=result.value,
            fields=result.fields,
            card=replace(metric.card, skipped=skipped),
            mode=mode,
            images={image.image_id: metric.one(n, mode, **options) for image, n in zip(kept, numbers, strict=True)},
            groups={column: self._groups(metric, kept, column) for column in self.by},
            ci=interval(replicates(metric, numbers, mode, options, self.rounds, self.seed)),
            options=options,
            numbers=numbers,
        )

    def _groups(self, metric: Metric, images: Sequence[ImageCounts], column: str) -> dict[str, Group]:
        of_cells = column in self.plan.cell_columns
        members = _cell_groups(metric, images, column) if of_cells else _image_groups(metric, images, column)
        return {group: self._group(metric, numbers) for group, numbers in members.items()}

    def _group(self, metric: Metric, by_image: Mapping[str, Any]) -> Group:
        mode, options, numbers = self.plan.mode, self.plan.options[metric.name], list(by_image.values())
        result = metric.pool(numbers, mode, **options)
        ci = interval(replicates(metric, numbers, mode, options, self.rounds, self.seed))
        return Group(result.value, len(numbers), ci, result.fields, by_image)


def _cell_groups(metric: Metric, images: Sequence[ImageCounts], column: str) -> dict[str, dict[str, Any]]:
    """Return what the metric counted in each group of cells, by group and image."""
    if not any(of == column for image in images for of, _ in image.parts):
        raise NotFoundError("the cells have no classes on both sides, so there is nothing to break down by")
    members: dict[str, dict[str, Any]] = {}
    for image in images:
        for (of, group), by_metric in image.parts.items():
            numbers = by_metric[metric.name]
            if of == column and numbers is not None and not isinstance(numbers, Unscored):
                members.setdefault(group, {})[image.image_id] = numbers
    return members


def _image_groups(metric: Metric, images: Sequence[ImageCounts], column: str) -> dict[str, dict[str, Any]]:
    """Return what the metric counted in the images of each group, by group and image."""
    members: dict[str, dict[str, Any]] = {}
    for image, label in zip(images, group_labels(images, column), strict=True):
        if label is not None:
            members.setdefault(label, {})[image.image_id] = image.numbers[metric.name]
    return dict(sorted(members.items(), key=lambda item: natural(item[0])))
