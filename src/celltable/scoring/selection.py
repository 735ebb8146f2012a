"""Select the metrics to run, and tell whether a metric applies to a pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from celltable import plugins
from celltable.errors import MetricError
from celltable.plugins.metric import Metric

from .pair import Pair


def select(metrics: str | Sequence[str]) -> tuple[tuple[Metric, ...], bool]:
    """Load metrics by name, and tell whether they were named individually ("all" leaves out heavy ones).

    Raises
    ------
    UnknownPluginError
        If there is no metric with that name.
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not any(names):
        raise MetricError("no metric is selected; name one or several, or 'all'")
    if "all" in names:
        every = (plugins.load("metrics", n) for n in plugins.names("metrics"))
        return tuple(m for m in every if not m.heavy), False
    return tuple(plugins.load("metrics", n) for n in dict.fromkeys(names)), True


def lacking(metric: Metric, pair: Pair) -> str | None:
    """Say what a metric needs that the pair does not have; None if nothing is missing."""
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
