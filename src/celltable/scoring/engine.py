"""The engine: score pairs with metrics in one pass, on any number of workers, with breakdowns and intervals."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence, Sized
from functools import partial as partial_of
from typing import Any

from celltable import work
from celltable.errors import MetricError
from celltable.plugins.metric import MODES, Metric, Mode, Result
from celltable.plugins.options import settle, settle_each

from .breakdown import CELL_COLUMNS, SIZE_EDGES, natural
from .counting import ImageCounts, Partial, Plan
from .joined import JoinedPairs, PairRecipe
from .pair import Pair
from .pooling import Pooling
from .remarks import texts, warned
from .scores import Scores
from .selection import select

ROUNDS = 1000


def evaluate_pairs(
    pairs: Iterable[Pair],
    metrics: str | Sequence[str] = "all",
    *,
    mode: Mode = "corrected",
    options: Mapping[str, Any] | None = None,
    workers: int | None = 1,
    how: work.How = "threads",
    scheduler: str | None = None,
    by: Sequence[str] = (),
    partial: Partial = "skip",
    rounds: int = ROUNDS,
    seed: int = 0,
    size_edges: Sequence[float] = SIZE_EDGES,
    notes: Sequence[str] = (),
    progress: str | None = None,
) -> Scores:
    """Score pairs with metrics, reading every pair once.

    Parameters
    ----------
    pairs
        Consumed lazily; only a few numbers per pair are kept.
    metrics
        Names, or "all": all that apply, and why the others do not.
    mode
        "strict" reproduces the official code bit for bit; "corrected" differs where a card says so.
    options
        Option → value for every metric that has it, "metric.option" → value, or metric → {option: value}.
    workers, how, scheduler
        How many workers count the pairs (None: one per core), and where; see `celltable.work.Runner`. The result does
        not depend on it.
    by
        Columns to break scores down by: any column of the images, "density" (thirds of cells per pixel), and of the
        cells "size" and "class".
    partial
        "skip" leaves partially annotated images out of metrics that count false positives; "score" scores them.
    rounds, seed
        Of the bootstrap over images; 0 rounds: no intervals.
    size_edges
        Areas in px² that separate the groups of "size".

    Raises
    ------
    MetricError
        If a metric selected by name does not apply, or there are no images to score, or no metrics.
    UnknownPluginError
        If there is no metric with that name.
    """
    if mode not in MODES:
        raise MetricError(f"mode is {mode!r}; expected 'strict' or 'corrected'")
    if rounds < 0:
        raise MetricError(f"rounds is {rounds}; expected 0 (no intervals) or more")
    loaded, named = select(metrics)
    cell_columns = tuple(c for c in by if c in CELL_COLUMNS)
    plan = Plan(loaded, mode, settle_each(loaded, options, "metric"), partial, cell_columns, tuple(size_edges), named)
    images, ignored = _counted(plan, pairs, work.Runner(workers, how, scheduler), progress)
    pooling = Pooling(plan, images, ignored, tuple(by), rounds, seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores, unavailable = pooling.scores()
    equal = _equal_scores(plan, images)
    remarks = texts([(image.image_id, image.remarks) for image in images])
    every = [*notes, *remarks, *equal, *warned(caught, known=bool(equal))]
    if ignored:
        every.append(f"{ignored} images are marked ignore and were not scored.")
    ids = tuple(image.image_id for image in images)
    return Scores(scores, unavailable, tuple(every), ids, [image.meta for image in images])


def score_pairs(metric: Metric, pairs: Iterable[Pair], mode: Mode = "corrected", **options: Any) -> Result:
    """Count and pool pairs with one metric; ignored and partially annotated images are scored like any other."""
    settled = settle(metric.options, options, f"the metric {metric.name}")
    return metric.pool([metric.count(pair, mode, **settled) for pair in pairs], mode, **settled)


def _counted(
    plan: Plan, pairs: Iterable[Pair], runner: work.Runner, progress: str | None
) -> tuple[list[ImageCounts], int]:
    """Count all pairs; return those to score, in natural order of their ids, and how many are marked ignore."""
    ignored, images = 0, []
    items = pairs.recipes() if runner.travels and isinstance(pairs, JoinedPairs) else pairs
    total = len(pairs) if isinstance(pairs, Sized) else None
    for counts in runner.map(partial_of(_count, plan), items, progress=progress, total=total):
        if counts is None:
            ignored += 1
        else:
            images.append(counts)
    _check_images(images, ignored)
    return sorted(images, key=lambda image: natural(image.image_id)), ignored


def _count(plan: Plan, item: Pair | PairRecipe) -> ImageCounts | None:
    return plan.count(item.pair() if isinstance(item, PairRecipe) else item)


def _check_images(images: Sequence[ImageCounts], ignored: int) -> None:
    if not images:
        what = f"all {ignored} images are marked ignore" if ignored else "there are no images"
        raise MetricError(f"nothing to score: {what}")
    ids = [image.image_id for image in images]
    if len(set(ids)) < len(ids):
        twice = next(i for k, i in enumerate(ids) if i in ids[:k])
        raise MetricError(f"image id {twice!r} occurs more than once; every image must have its own id")


def _equal_scores(plan: Plan, images: Sequence[ImageCounts]) -> list[str]:
    ranges = [image.scores for image in images if image.scores is not None]
    using = [m.name for m in plan.metrics if "scores" in m.needs]
    if not using or sum(n for _, _, n in ranges) < 2 or min(r[0] for r in ranges) < max(r[1] for r in ranges):
        return []
    text = f"all predictions have the score {ranges[0][0]:g}, so their order decides {', '.join(using)}"
    warnings.warn(text, stacklevel=3)
    return [f"Warning: {text}."]
