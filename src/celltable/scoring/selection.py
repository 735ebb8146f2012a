"""Which metrics to run, with which options, and whether a metric applies to a pair."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from celltable import plugins
from celltable.errors import MetricError
from celltable.plugins.metric import Metric

from .pair import Pair


def select(metrics: str | Sequence[str]) -> tuple[tuple[Metric, ...], bool]:
    """Load metrics by name, and tell whether they were named one by one ("all" leaves heavy ones out).

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


def lacking(metric: Metric, pair: Pair) -> str | None:
    """Name what a metric needs and the pair does not have; None if it has everything."""
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
