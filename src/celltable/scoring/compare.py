"""Compare two models: which is better, by how much and how certainly, by a paired bootstrap over images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from celltable import plugins
from celltable.errors import MetricError, NotFoundError
from celltable.plugins.metric import Metric
from celltable.store import Store

from .arrays import is_array
from .bootstrap import interval, replicates
from .engine import ROUNDS, evaluate_pairs
from .pair import Pair
from .scores import Score, Scores
from .text import plain, show, table, with_unit


@dataclass(frozen=True, slots=True)
class Difference:
    """B minus A for one metric and group.

    Attributes
    ----------
    metric, group_by, group
        The metric; the column and value of the group, or None for all images.
    a, b, difference
        The two scores, and b - a.
    ci
        95 % bootstrap interval of the difference, with the same images drawn for both.
    share_b_better
        Share of resamples in which B is better.
    verdict
        "a", "b", or "no clear difference" if the interval contains 0 or is missing.
    """

    metric: str
    a: float
    b: float
    difference: float
    ci: tuple[float, float] | None
    share_b_better: float | None
    verdict: str
    n_images: int
    group_by: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences by metric and group; printed as a table."""

    rows: tuple[Difference, ...]
    names: tuple[str, str] = ("A", "B")
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        a, b = self.names
        head = ("metric", "group", a, b, "difference", "95 % interval", "better", "images")
        lines = table(head, [_line(r, self.names) for r in self.rows], right=(2, 3, 4, 7))
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])])

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {"names": list(self.names), "rows": [plain(asdict(r)) for r in self.rows], "notes": list(self.notes)}


def _line(r: Difference, names: tuple[str, str]) -> tuple[str, ...]:
    better = {"a": names[0], "b": names[1]}.get(r.verdict, r.verdict)
    ci = f"[{r.ci[0]:+.4f}, {r.ci[1]:+.4f}]" if r.ci else ""
    group = f"{r.group_by} = {r.group}" if r.group_by else "all images"
    metric = with_unit(r.metric, plugins.load("metrics", r.metric).card.unit)
    return metric, group, show(r.a), show(r.b), f"{r.difference:+.4f}", ci, better, str(r.n_images)


def compare_pairs(
    pairs_a: Iterable[Pair],
    pairs_b: Iterable[Pair],
    metrics: str | Sequence[str] = "all",
    *,
    names: tuple[str, str] = ("A", "B"),
    by: Sequence[str] = (),
    rounds: int = ROUNDS,
    seed: int = 0,
    **how: Any,
) -> Comparison:
    """Score two models on the same images and compare them; further arguments are those of `evaluate_pairs`.

    Raises
    ------
    MetricError
        If the two have no images in common, or no metric applies to both.
    """
    a = evaluate_pairs(pairs_a, metrics, by=by, rounds=0, **how)
    b = evaluate_pairs(pairs_b, metrics, by=by, rounds=0, **how)
    return compare_scores(a, b, names=names, by=by, rounds=rounds, seed=seed)


def compare_scores(
    a: Scores,
    b: Scores,
    *,
    names: tuple[str, str] = ("A", "B"),
    by: Sequence[str] = (),
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Comparison:
    """Compare two evaluations on the images they share, overall and per group of the columns `by`.

    Raises
    ------
    MetricError
        If the two share no metrics or no images.
    NotFoundError
        If one was not broken down by a column.
    """
    both = [n for n in a if n in b]
    if not both:
        raise MetricError("the two evaluations have no metric in common, so there is nothing to compare")
    rows: list[Difference] = []
    for name in both:
        for column, group, sides in _groups(a[name], b[name], by):
            shared = [i for i in sides[0] if i in sides[1]]
            if not shared and column is None:
                raise MetricError(f"{name}: the two models were scored on different images; expected the same ids")
            if shared:
                numbers = tuple([side[i] for i in shared] for side in sides)
                rows.append(_difference(a[name], numbers, column, group, rounds, seed))
    return Comparison(tuple(rows), names, _notes(a, b, names))


_ByImage = Mapping[str, Any]


def _groups(
    a: Score, b: Score, by: Sequence[str]
) -> Iterator[tuple[str | None, str | None, tuple[_ByImage, _ByImage]]]:
    """Yield column, group, and the numbers of both models by image, starting with all images."""
    whole = [dict(zip(s.images, s.numbers, strict=True)) for s in (a, b)]
    yield None, None, (whole[0], whole[1])
    for column in by:
        if column not in a.groups or column not in b.groups:
            raise NotFoundError(f"{a.name} was not broken down by '{column}'; evaluate both with by=['{column}']")
        for group, of_a in a.groups[column].items():
            if group in b.groups[column]:
                yield column, group, (of_a.numbers, b.groups[column][group].numbers)


def _difference(
    like: Score, numbers: tuple[Any, ...], column: str | None, group: str | None, rounds: int, seed: int
) -> Difference:
    """Compute B minus A, with the metric and options of `like`, from the counts of the same images."""
    metric: Metric = plugins.load("metrics", like.name)
    sides = []
    for of_side in numbers:
        value = metric.pool(of_side, like.mode, **like.options).value
        sides.append((value, replicates(metric, of_side, like.mode, like.options, rounds, seed)))
    (value_a, drawn_a), (value_b, drawn_b) = sides
    gap = None if drawn_a is None or drawn_b is None else drawn_b - drawn_a
    ci = interval(gap)
    share = None if drawn_a is None or drawn_b is None else float(np.nanmean(gain(metric, drawn_a, drawn_b) > 0))
    verdict = "no clear difference"
    sure = interval(None if drawn_a is None or drawn_b is None else gain(metric, drawn_a, drawn_b))
    if sure is not None and (sure[0] > 0 or sure[1] < 0):
        verdict = "b" if sure[0] > 0 else "a"
    return Difference(
        metric.name, value_a, value_b, value_b - value_a, ci, share, verdict, len(numbers[0]), column, group
    )


def gain(metric: Metric, a: Any, b: Any) -> Any:
    """Return how much better b is than a, for metrics where higher, lower or nearer to zero is better."""
    if metric.better == "higher":
        return b - a
    return a - b if metric.better == "lower" else np.abs(a) - np.abs(b)


def _notes(a: Scores, b: Scores, names: tuple[str, str]) -> tuple[str, ...]:
    only = [n for n in a if n not in b] + [n for n in b if n not in a]
    notes = [f"{', '.join(only)}: scored for one model only."] if only else []
    missing = set(a.image_ids) ^ set(b.image_ids)
    if missing:
        notes.append(f"{len(missing)} images were scored for only one of {names[0]} and {names[1]} and were left out.")
    notes += [n for n in a.notes if n in b.notes]
    for scores, other, name in ((a, b, names[0]), (b, a, names[1])):
        notes += [f"{name}: {n}" for n in scores.notes if n not in other.notes]
    return tuple(notes)


def distinct_names(a: Any, b: Any) -> tuple[str, str]:
    """Give two stores or paths different names: their own, with parent folders if needed, or marked A and B.

    >>> distinct_names("x/unet.json", "x/yolo.json"), distinct_names("runs/a/pred.csv", "runs/b/pred.csv")
    (('unet.json', 'yolo.json'), ('a/pred.csv', 'b/pred.csv'))
    >>> distinct_names("pred.csv", "./pred.csv")
    ('pred.csv (A)', 'pred.csv (B)')
    """
    own = _name(a, "A"), _name(b, "B")
    if own[0] != own[1]:
        return own
    parts = [_parts(given) for given in (a, b)]
    for n in range(2, max(map(len, parts)) + 1):
        longer = "/".join(parts[0][-n:]), "/".join(parts[1][-n:])
        if longer[0] != longer[1]:
            return longer
    return f"{own[0]} (A)", f"{own[1]} (B)"


def _name(given: Any, otherwise: str) -> str:
    if isinstance(given, Store):
        return given.name
    return otherwise if is_array(given) else Path(given).absolute().name


def _parts(given: Any) -> tuple[str, ...]:
    return () if is_array(given) else Path(given.path if isinstance(given, Store) else given).resolve().parts[1:]
