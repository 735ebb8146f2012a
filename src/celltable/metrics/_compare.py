"""Which of two models is better, by how much, and how sure that is: a paired bootstrap over the images both scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from celltable import registry
from celltable.errors import MetricError

from . import Metric, Pair
from ._bootstrap import interval, replicates
from ._engine import ROUNDS, evaluate_pairs
from ._scores import Score, Scores, plain, show, table, with_unit


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
        95 % bootstrap interval of the difference, over images drawn alike for both.
    share_b_better
        Share of the resamples in which B is better.
    verdict
        "a", "b", or "no clear difference" where the interval holds 0 or there is none.
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
    """Differences by metric and group; `print` shows a table."""

    rows: tuple[Difference, ...]
    names: tuple[str, str] = ("A", "B")
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        a, b = self.names
        head = ("metric", "group", a, b, "difference", "95 % interval", "better", "images")
        lines = table(head, [_line(r, self.names) for r in self.rows], right=(2, 3, 4, 7))
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])])

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values that JSON can hold."""
        return {"names": list(self.names), "rows": [plain(asdict(r)) for r in self.rows], "notes": list(self.notes)}


def _line(r: Difference, names: tuple[str, str]) -> tuple[str, ...]:
    better = {"a": names[0], "b": names[1]}.get(r.verdict, r.verdict)
    ci = f"[{r.ci[0]:+.4f}, {r.ci[1]:+.4f}]" if r.ci else ""
    group = f"{r.group_by} = {r.group}" if r.group_by else "all images"
    metric = with_unit(r.metric, registry.load("metrics", r.metric).card.unit)
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
        If the two have no image in common, or no metric applies to both.
    """
    a = evaluate_pairs(pairs_a, metrics, rounds=0, **how)
    b = evaluate_pairs(pairs_b, metrics, rounds=0, **how)
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
    """Compare two evaluations on the images they share, over all and per value of the image columns `by`."""
    both = [n for n in a if n in b]
    if not both:
        raise MetricError("the two evaluations have no metric in common, so there is nothing to compare")
    meta = {i: m for s in (a, b) for i, m in zip(s.image_ids, s.meta, strict=False)}
    rows: list[Difference] = []
    for name in both:
        metric: Metric = registry.load("metrics", name)
        shared = [i for i in a[name].images if i in b[name].images]
        if not shared:
            raise MetricError(f"{name}: the two models were scored on different images; expected the same image ids")
        for column, group, members in _groups(shared, meta, by):
            rows.append(_difference(metric, a[name], b[name], members, column, group, rounds, seed))
    return Comparison(tuple(rows), names, _notes(a, b, names))


def _groups(
    shared: Sequence[str], meta: Mapping[str, Mapping[str, Any]], by: Sequence[str]
) -> list[tuple[str | None, str | None, Sequence[str]]]:
    out: list[tuple[str | None, str | None, Sequence[str]]] = [(None, None, shared)]
    for column in by:
        values = {i: meta.get(i, {}).get(column) for i in shared}
        for value in sorted({str(v) for v in values.values() if v is not None}):
            out.append((column, value, [i for i in shared if str(values[i]) == value]))
    return out


def _difference(
    metric: Metric,
    a: Score,
    b: Score,
    members: Sequence[str],
    column: str | None,
    group: str | None,
    rounds: int,
    seed: int,
) -> Difference:
    sides = []
    for score in (a, b):
        at = {image: k for k, image in enumerate(score.images)}
        numbers = [score.numbers[at[i]] for i in members]
        value = metric.pool(numbers, score.mode, **score.options).value
        sides.append((value, replicates(metric, numbers, score.mode, score.options, rounds, seed)))
    (value_a, drawn_a), (value_b, drawn_b) = sides
    gap = None if drawn_a is None or drawn_b is None else drawn_b - drawn_a
    ci = interval(gap)
    share = None if drawn_a is None or drawn_b is None else float(np.nanmean(gain(metric, drawn_a, drawn_b) > 0))
    verdict = "no clear difference"
    sure = interval(None if drawn_a is None or drawn_b is None else gain(metric, drawn_a, drawn_b))
    if sure is not None and (sure[0] > 0 or sure[1] < 0):
        verdict = "b" if sure[0] > 0 else "a"
    return Difference(metric.name, value_a, value_b, value_b - value_a, ci, share, verdict, len(members), column, group)


def gain(metric: Metric, a: Any, b: Any) -> Any:
    """How much better b is than a, whichever way the metric points."""
    if metric.better == "higher":
        return b - a
    return a - b if metric.better == "lower" else np.abs(a) - np.abs(b)


def _notes(a: Scores, b: Scores, names: tuple[str, str]) -> tuple[str, ...]:
    only = [n for n in a if n not in b] + [n for n in b if n not in a]
    notes = [f"{', '.join(only)}: scored for one model only."] if only else []
    missing = set(a.image_ids) ^ set(b.image_ids)
    if missing:
        notes.append(f"{len(missing)} images were scored for only one of {names[0]} and {names[1]} and were left out.")
    return tuple(notes)
