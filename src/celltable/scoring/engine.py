"""The engine: many pairs through many metrics in one pass, on any number of workers, with breakdowns and intervals."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from celltable import plugins, work
from celltable.errors import MetricError, NotFoundError
from celltable.plugins.metric import MODES, Metric, Mode, Result

from .bootstrap import interval, replicates
from .pair import Pair
from .remarks import Remarks, remarks_of, texts, warned
from .scores import Group, Score, Scores

Partial = Literal["skip", "score"]
SIZE_EDGES = (0.0, 324.0, 961.0, np.inf)  # px²: LIVECell's small, medium, large
ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a metric says nothing about an image."""

    reason: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What one image gave: numbers by metric, and by metric and group of cells; least and largest score, how many."""

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
    """What to compute of every pair."""

    metrics: tuple[Metric, ...]
    mode: Mode
    options: Mapping[str, Mapping[str, Any]]
    partial: Partial
    cell_columns: tuple[str, ...]
    size_edges: tuple[float, ...]
    strictly: bool

    def count(self, pair: Pair) -> Counted | None:
        """The numbers of one pair; None for an ignored image."""
        if pair.ignored:
            return None
        if pair.gt.map is not None and pair.pred.map is not None and pair.gt.size == pair.pred.size:
            _ = pair.overlap  # both maps are read once, before a metric asks either for its cells alone
        parts = {(c, g): self._numbers(part, False) for c in self.cell_columns for g, part in self._split(pair, c)}
        scores = pair.pred.scores
        numbers = self._numbers(pair, self.strictly)
        spread = (float(scores.min()), float(scores.max()), len(scores)) if scores is not None and len(scores) else None
        return Counted(
            pair.image_id,
            pair.meta,
            numbers,
            parts,
            len(pair.gt),
            pair.size[0] * pair.size[1],
            spread,
            pair.exhaustive,
            remarks_of(pair, pair.seen(self.mode)),
        )

    def _numbers(self, pair: Pair, strictly: bool) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for metric in self.metrics:
            reason = lacking(metric, pair)
            if reason is None and not pair.exhaustive and self.partial == "skip" and "partial" not in metric.handles:
                out[metric.name] = None
                continue
            try:
                if reason is not None:
                    raise MetricError(f"{metric.name} cannot score image {pair.image_id}: {reason}")
                out[metric.name] = metric.count(pair, self.mode, **self.options[metric.name])
            except MetricError as exc:
                if strictly:
                    raise
                out[metric.name] = Missing(str(exc) if reason is None else reason)
        return out

    def _split(self, pair: Pair, column: str) -> Iterator[tuple[str, Pair]]:
        if column == "size":
            yield from by_size(pair, self.size_edges)
        else:
            yield from by_class(pair)


def lacking(metric: Metric, pair: Pair) -> str | None:
    """What a metric needs and the pair does not have; None if it has all."""
    if "scores" in metric.needs and len(pair.pred):
        if pair.pred.scores is None:
            return "the predictions have no scores"
        if np.isnan(pair.pred.scores).any():
            return "some predictions have no score (NaN)"
    if "classes" in metric.needs and not pair.has_classes and (len(pair.gt) or len(pair.pred)):
        return "the cells have no classes on both sides"
    for column in metric.needs - {"scores", "classes", "pixels"}:
        if pair.meta.get(column) is None:
            return f"the images have no {column}"
    return None


def by_class(pair: Pair) -> Iterator[tuple[str, Pair]]:
    """The pair restricted to each class in turn."""
    if pair.gt.class_codes is None or pair.pred.class_codes is None:
        return
    for code, name in enumerate(pair.class_names):
        yield name, pair.kept(pair.gt.class_codes == code, pair.pred.class_codes == code)


def by_size(pair: Pair, edges: Sequence[float]) -> Iterator[tuple[str, Pair]]:
    """The pair restricted to cells of each range of area.

    A prediction belongs to the range of the cell it overlaps most; one that overlaps none belongs to that of its own
    area.
    """
    table = pair.overlap
    area = table.pred_areas.astype(np.float64)
    order = np.argsort(table.intersection, kind="stable")
    area[table.pred_index[order]] = table.gt_areas[table.gt_index[order]]  # the largest overlap is written last
    gt_bin = np.searchsorted(edges, table.gt_areas, side="right") - 1
    pred_bin = np.searchsorted(edges, area, side="right") - 1
    for k in range(len(edges) - 1):
        yield _range(edges[k], edges[k + 1]), pair.kept(gt_bin == k, pred_bin == k)


def _range(low: float, high: float) -> str:
    return f"{low:g} px² and more" if np.isinf(high) else f"{low:g}-{high:g} px²"


def chosen(metrics: str | Sequence[str]) -> tuple[tuple[Metric, ...], bool]:
    """Metrics by name, and whether they were named one by one ("all" leaves heavy ones out).

    Raises
    ------
    UnknownPluginError
        If there is no metric of a name.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not any(names):
        raise MetricError("no metric was asked for; name one or several, or 'all'")
    if "all" in names:
        every = (plugins.load("metrics", n) for n in plugins.names("metrics"))
        return tuple(m for m in every if not m.heavy), False
    return tuple(plugins.load("metrics", n) for n in dict.fromkeys(names)), True


def with_options(metrics: Sequence[Metric], options: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Every metric's options: its defaults, then those given for all, then those given under its name.

    Raises
    ------
    MetricError
        If no metric knows an option, or a value is of another kind than the default.
    """
    given = dict(options or {})
    own = {m.name: given.pop(m.name) for m in metrics if isinstance(given.get(m.name), Mapping)}
    known = {key for m in metrics for key in m.options}
    unknown = sorted((set(given) - known) | {k for name, o in own.items() for k in set(o) - _options(metrics, name)})
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(sorted(known)) or 'none'}."
        raise MetricError(f"no chosen metric has the option {', '.join(unknown)}. {hint}")
    out = {}
    for m in metrics:
        shared = {k: v for k, v in given.items() if k in m.options}
        asked = {**shared, **own.get(m.name, {})}
        out[m.name] = {**m.options, **{k: _fitting(m, k, v) for k, v in asked.items()}}
    return out


def _fitting(metric: Metric, name: str, value: Any) -> Any:
    """An option's value in the kind of its default; several numbers may come as one, or as text with commas."""
    default = metric.options[name]
    if isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int | float):
        fits, wanted = _is_number(value), "a number"
    elif isinstance(default, str):
        fits, wanted = isinstance(value, str), "a word"
    elif isinstance(default, tuple):
        given, value = value, _several(value)
        fits, wanted = bool(value) and all(map(_is_number, value)), "numbers with commas between them"
        value = value if fits else given
    else:
        return value
    if not fits:
        usual = ",".join(map(str, default)) if isinstance(default, tuple) else default
        raise MetricError(f"{metric.name}: {name} is {value!r}; expected {wanted}, as the default {usual}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _several(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        return tuple(_number(part.strip()) for part in value.split(","))
    return tuple(np.asarray(value).ravel().tolist())


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _options(metrics: Sequence[Metric], name: str) -> set[str]:
    return next(set(m.options) for m in metrics if m.name == name)


def natural(image_id: str) -> tuple[Any, ...]:
    """A sort key under which image 9 comes before image 10.

    >>> sorted(["b10", "b9", "a"], key=natural)
    ['a', 'b9', 'b10']
    """
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", image_id) if part
    )


def evaluate_pairs(
    pairs: Iterable[Pair],
    metrics: str | Sequence[str] = "all",
    *,
    mode: Mode = "corrected",
    options: Mapping[str, Any] | None = None,
    workers: int | None = 1,
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
        Consumed lazily; only small numbers of each are kept.
    metrics
        Names, or "all": all that apply, and why the others do not.
    mode
        "strict" reproduces the official code bit for bit; "corrected" differs where a card says so.
    options
        Option → value for every metric that has it, or metric → {option: value}.
    workers
        Threads; None uses every core. The result does not depend on it.
    by
        Columns to break scores down by: any column of the images, "density" (thirds of cells per pixel), and of the
        cells "size" and "class".
    partial
        "skip" leaves partially annotated images out of metrics that count false positives; "score" scores them.
    rounds, seed
        Of the bootstrap over images; 0 rounds makes no intervals.
    size_edges
        Areas in px² that bound the groups of "size".

    Raises
    ------
    MetricError
        If a metric that was asked for by name does not apply, or there is no image to score, or no metric.
    UnknownPluginError
        If there is no metric of a name.
    """
    if mode not in MODES:
        raise MetricError(f"mode is {mode!r}; expected 'strict' or 'corrected'")
    if rounds < 0:
        raise MetricError(f"rounds is {rounds}; expected 0 (no intervals) or more")
    loaded, named = chosen(metrics)
    cells = tuple(c for c in by if c in ("size", "class"))
    plan = Plan(loaded, mode, with_options(loaded, options), partial, cells, tuple(size_edges), named)
    ignored, found = 0, []
    for counted in work.map(plan.count, pairs, workers=workers, progress=progress):
        if counted is None:
            ignored += 1
        else:
            found.append(counted)
    _check_images(found, ignored)
    found.sort(key=lambda c: natural(c.image_id))
    made = _Pooling(plan, found, ignored, tuple(by), rounds, seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scores, unavailable = made.scores()
    equal = _equal_scores(plan, found)
    heard = [*notes, *texts([(c.image_id, c.remarks) for c in found]), *equal, *warned(caught, known=bool(equal))]
    if ignored:
        heard.append(f"{ignored} images are marked ignore and were not scored.")
    return Scores(scores, unavailable, tuple(heard), tuple(c.image_id for c in found), [c.meta for c in found])


def _check_images(found: Sequence[Counted], ignored: int) -> None:
    if not found:
        what = f"all {ignored} images are marked ignore" if ignored else "there is no image"
        raise MetricError(f"nothing to score: {what}")
    ids = [c.image_id for c in found]
    if len(set(ids)) < len(ids):
        twice = next(i for k, i in enumerate(ids) if i in ids[:k])
        raise MetricError(f"image id {twice!r} occurs more than once; every image must have its own id")


def _equal_scores(plan: Plan, found: Sequence[Counted]) -> list[str]:
    spread = [c.scores for c in found if c.scores is not None]
    using = [m.name for m in plan.metrics if "scores" in m.needs]
    if not using or sum(s[2] for s in spread) < 2 or min(s[0] for s in spread) < max(s[1] for s in spread):
        return []
    text = f"all predictions have the score {spread[0][0]:g}, so their order decides {', '.join(using)}"
    warnings.warn(text, stacklevel=3)
    return [f"Warning: {text}."]


@dataclass(frozen=True, slots=True)
class _Pooling:
    plan: Plan
    found: Sequence[Counted]
    ignored: int
    by: tuple[str, ...]
    rounds: int
    seed: int

    def scores(self) -> tuple[dict[str, Score], dict[str, str]]:
        made: dict[str, Score] = {}
        unavailable: dict[str, str] = {}
        for metric in self.plan.metrics:
            entries = [c.numbers[metric.name] for c in self.found]
            missing = next((e for e in entries if isinstance(e, Missing)), None)
            if missing is None and all(e is None for e in entries):
                missing = Missing("every image is partially annotated, so false positives are unknown")
                if self.plan.strictly:
                    raise MetricError(f"{metric.name}: {missing.reason}; partial='score' scores them all the same")
            if missing is not None:
                unavailable[metric.name] = missing.reason
            else:
                made[metric.name] = self._score(metric)
        return made, unavailable

    def _score(self, metric: Metric) -> Score:
        name, mode, options = metric.name, self.plan.mode, self.plan.options[metric.name]
        kept = [c for c in self.found if c.numbers[name] is not None]
        numbers = [c.numbers[name] for c in kept]
        result = metric.pool(numbers, mode, **options)
        skipped = dict(result.skipped)
        if len(kept) < len(self.found):
            skipped["partially annotated images"] = len(self.found) - len(kept)
        if self.ignored:
            skipped["ignored images"] = self.ignored
        images = {c.image_id: metric.one(n, mode, **options) for c, n in zip(kept, numbers, strict=True)}
        groups = {column: self._groups(metric, kept, column) for column in self.by}
        ci = interval(replicates(metric, numbers, mode, options, self.rounds, self.seed))
        card = replace(metric.card, skipped=skipped)
        return Score(name, result.value, result.fields, card, mode, images, groups, ci, options, numbers)

    def _groups(self, metric: Metric, kept: Sequence[Counted], column: str) -> dict[str, Group]:
        members: dict[str, dict[str, Any]] = {}
        if column in self.plan.cell_columns:
            if not any(of == column for c in kept for of, _ in c.parts):
                raise NotFoundError("the cells have no classes on both sides, so there is nothing to break down by")
            for c in kept:
                for (of, group), numbers in c.parts.items():
                    n = numbers[metric.name]
                    if of == column and n is not None and not isinstance(n, Missing):
                        members.setdefault(group, {})[c.image_id] = n
        else:
            for c, label in zip(kept, group_labels(kept, column), strict=True):
                if label is not None:
                    members.setdefault(label, {})[c.image_id] = c.numbers[metric.name]
            members = dict(sorted(members.items(), key=lambda item: natural(item[0])))
        return {group: self._group(metric, numbers) for group, numbers in members.items()}

    def _group(self, metric: Metric, by_image: Mapping[str, Any]) -> Group:
        mode, options, numbers = self.plan.mode, self.plan.options[metric.name], list(by_image.values())
        result: Result = metric.pool(numbers, mode, **options)
        ci = interval(replicates(metric, numbers, mode, options, self.rounds, self.seed))
        return Group(result.value, len(numbers), ci, result.fields, by_image)


def group_labels(found: Sequence[Counted], column: str) -> list[str | None]:
    """The group of each image for a column of the images.

    Raises
    ------
    NotFoundError
        If no image has the column.
    """
    if column == "density":
        return _thirds([c.n_gt / max(c.n_pixels, 1) for c in found])
    values = [c.meta.get(column) for c in found]
    if all(v is None for v in values):
        there = sorted({k for c in found for k, v in c.meta.items() if v is not None})
        raise NotFoundError(
            f"no image has the column '{column}'. There are: {', '.join([*there, 'density', 'size', 'class'])}."
        )
    return [None if v is None else str(v) for v in values]


def _thirds(values: Sequence[float]) -> list[str | None]:
    low, high = np.quantile(values, (1 / 3, 2 / 3))
    return ["1 sparse" if v <= low else "2 middle" if v <= high else "3 dense" for v in values]
