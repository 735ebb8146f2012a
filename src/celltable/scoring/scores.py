"""The result of an evaluation: scores by metric, with fields, cards, values per image, groups and intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from celltable.errors import NotFoundError
from celltable.plugins.metric import Card, Mode

from .text import counted, in_blocks, plain, show, table, with_unit


@dataclass(frozen=True, slots=True)
class Group:
    """The score of one group of a breakdown.

    `ci` is its 95 % bootstrap interval over images, or None; `numbers` holds what the metric counted in the group, by
    image.
    """

    value: float
    n_images: int
    ci: tuple[float, float] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the group as plain values for JSON."""
        return {name: plain(getattr(self, name)) for name in ("value", "n_images", "ci", "fields")}


@dataclass(frozen=True, slots=True)
class Score:
    """One metric's result.

    Attributes
    ----------
    name, value, mode
        Metric, headline number, strict or corrected.
    fields
        Every number, under the name it has in the reference.
    card
        The protocol; `card.skipped` says what was left out, and how often.
    images
        Image id → headline value of that image.
    groups
        Column → value of the column → its score.
    ci
        95 % bootstrap interval over images.
    options
        The options the metric ran with.
    """

    name: str
    value: float
    fields: Mapping[str, Any]
    card: Card
    mode: Mode
    images: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Group]] = field(default_factory=dict)
    ci: tuple[float, float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    numbers: Sequence[Any] = field(default=(), repr=False)

    @property
    def headline(self) -> str:
        """Name of the field that is the headline number; empty if no field is."""
        floats = [(k, v) for k, v in self.fields.items() if isinstance(v, float)]
        return next((k for k, v in floats if v == self.value or (math.isnan(v) and math.isnan(self.value))), "")

    @property
    def skipped(self) -> Mapping[str, int]:
        """What was left out, by reason."""
        return self.card.skipped

    def __str__(self) -> str:
        unit = f" {self.card.unit}" if self.card.unit else ""
        lines = [f"{self.name} ({self.mode}) = {show(self.value)}{unit}{_interval(self.ci)}", ""]
        for key, value in asdict(self.card).items():
            if value and key != "skipped":
                lines.append(f"  {key:<10} {value}")
        lines += [f"  skipped    {counted(n, reason)}" for reason, n in self.skipped.items()]
        numbers = [(k, v) for k, v in self.fields.items() if isinstance(v, int | float)]
        width = max((len(k) for k, _ in numbers), default=0)
        lines += ["", *(f"  {k:<{width}}  {show(v)}" for k, v in numbers)]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the score as plain values for JSON; NaN and infinity become None."""
        groups = {c: {k: g.to_dict() for k, g in each.items()} for c, each in self.groups.items()}
        return {
            "name": self.name,
            "mode": self.mode,
            "value": plain(self.value),
            "ci": plain(self.ci),
            "fields": plain(self.fields),
            "options": plain(self.options),
            "card": plain(asdict(self.card)),
            "images": plain(self.images),
            "groups": groups,
        }


@dataclass(frozen=True, slots=True)
class Scores(Mapping[str, Score]):
    """Scores by metric name; printed as a table.

    Attributes
    ----------
    scores
        The scores.
    unavailable
        Metric → why it does not apply to this data.
    notes
        What to know about the scores: images left out, predictions without an image, equal scores.
    image_ids, meta
        Images in the order of `Score.numbers`, and their columns.
    """

    scores: Mapping[str, Score]
    unavailable: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    image_ids: tuple[str, ...] = ()
    meta: Sequence[Mapping[str, Any]] = ()

    def __getitem__(self, name: str) -> Score:
        key = name.replace("-", "_")
        if key in self.scores:
            return self.scores[key]
        why = self.unavailable.get(key)
        raise NotFoundError(
            f"no score '{name}': {why}" if why else f"no score '{name}'. There are: {', '.join(self.scores) or 'none'}."
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __str__(self) -> str:
        lines = self._headlines()
        for column in dict.fromkeys(c for s in self.scores.values() for c in s.groups):
            lines += ["", *self._breakdown(column)]
        reasons: dict[str, list[str]] = {}
        for s in self.scores.values():
            for reason, n in s.skipped.items():
                reasons.setdefault(counted(n, reason), []).append(s.name)
        if reasons:
            lines += ["", "Left out:"]
            lines += [f"  {what}: {', '.join(names)}" for what, names in reasons.items()]
        if self.unavailable:
            causes: dict[str, list[str]] = {}
            for name, why in self.unavailable.items():
                causes.setdefault(why, []).append(name)
            lines += ["", "Do not apply:", *(f"  {why}: {', '.join(names)}" for why, names in causes.items())]
        if self.notes:
            lines += ["", *self.notes]
        return "\n".join(lines)

    def _headlines(self) -> list[str]:
        rows = [_row(s) for s in self.scores.values()]
        head = ("metric", "number", "value", "95 % interval", "images")
        modes = {s.mode for s in self.scores.values()}
        if modes == {"strict"}:
            head = ("metric (strict)", *head[1:])
        if any(s.ci for s in self.scores.values()):
            return table(head, rows, right=(2, 4))
        return table((*head[:3], head[4]), [(*r[:3], r[4]) for r in rows], right=(2, 3))

    def _breakdown(self, column: str) -> list[str]:
        shown = {n: s for n, s in self.scores.items() if s.groups.get(column)}
        units = [with_unit(name, s.card.unit) for name, s in shown.items()]
        each = [s.groups[column] for s in shown.values()]
        groups = list(dict.fromkeys(name for by_name in each for name in by_name))
        counts = {g: max(by_name[g].n_images for by_name in each if g in by_name) for g in groups}
        rows: list[tuple[str, ...]]
        if len(shown) <= len(groups):
            rows = [(g, str(counts[g]), *(_in_group(s, column, g) for s in shown.values())) for g in groups]
            return in_blocks((column, "images", *units), rows)
        rows = [("images", *(str(counts[g]) for g in groups))]
        rows += [(u, *(_in_group(s, column, g) for g in groups)) for u, s in zip(units, shown.values(), strict=True)]
        return in_blocks((f"by {column}", *groups), rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {
            "scores": {name: s.to_dict() for name, s in self.scores.items()},
            "unavailable": dict(self.unavailable),
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """Return `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def rows(self, predictions: str | None = None) -> list[dict[str, Any]]:
        """Return the scores as rows of a store's table of scores: pooled fields, groups and images."""
        return [row for s in self.scores.values() for row in _table_rows(s, predictions)]


def _table_rows(s: Score, predictions: str | None) -> Iterator[dict[str, Any]]:
    base = {"metric": s.name, "mode": s.mode, "predictions": predictions}
    low, high = s.ci or (None, None)
    yield {**base, "level": "pooled", "field": "value", "value": s.value, "ci_low": low, "ci_high": high}
    for name, value in s.fields.items():
        if isinstance(value, int | float):
            yield {**base, "level": "pooled", "field": name, "value": float(value)}
    for column, each in s.groups.items():
        for name, group in each.items():
            low, high = group.ci or (None, None)
            where = {"level": "group", "group_by": column, "group_value": name, "field": "value"}
            yield {**base, **where, "value": group.value, "ci_low": low, "ci_high": high}
    for image, value in s.images.items():
        yield {**base, "level": "image", "image_id": image, "field": "value", "value": value}


def _in_group(s: Score, column: str, group: str) -> str:
    in_group = s.groups[column].get(group)
    return show(in_group.value) if in_group else ""


def _interval(ci: tuple[float, float] | None) -> str:
    return f" [{ci[0]:.4f}, {ci[1]:.4f}]" if ci else ""


def _row(s: Score) -> tuple[str, ...]:
    return s.name, with_unit(s.headline, s.card.unit), show(s.value), _interval(s.ci).strip(), str(len(s.images))
