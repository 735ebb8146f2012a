"""Metrics travel: a pickled copy is the same metric, and an image counted in another process gives the same numbers."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from celltable import plugins, work
from celltable.plugins.metric import MODES, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.arrays import pairs_from_arrays
from celltable.scoring.text import plain


def two_images() -> list[Pair]:
    """Make two images of cells with scores and classes; one predicted cell is shifted and one is missed."""
    gt = np.zeros((2, 24, 30), np.int32)
    gt[:, 2:8, 2:9], gt[:, 10:18, 3:10], gt[1, 3:12, 15:24] = 1, 2, 3
    pred = np.roll(gt, 1, axis=2)
    pred[pred == 2] = 0
    ids = [np.unique(m)[1:].tolist() for m in gt], [np.unique(m)[1:].tolist() for m in pred]
    classes = tuple([{i: ("round", "flat")[i % 2] for i in image} for image in side] for side in ids)
    scores = [{i: 0.9 - 0.1 * i for i in image} for image in ids[1]]
    return pairs_from_arrays(gt, pred, classes=(classes[0], classes[1]), scores=scores, meta=[{"tissue": "a"}] * 2)


def scored(job: tuple[Metric, Pair, Mode]) -> str:
    metric, pair, mode = job
    numbers = metric.count(pair, mode, **metric.defaults)
    result = metric.pool([numbers], mode, **metric.defaults)
    return json.dumps([metric.one(numbers, mode, **metric.defaults), plain(result.fields), plain(result.skipped)])


@pytest.mark.parametrize("name", plugins.names("metrics"))
def test_a_pickled_metric_gives_the_same_score_interval_and_card(name: str) -> None:
    metric: Metric = plugins.load("metrics", name)
    copy: Metric = pickle.loads(pickle.dumps(metric))
    assert (copy.name, copy.card, copy.needs, copy.options) == (name, metric.card, metric.needs, metric.options)
    pairs = two_images()
    assert [scored((copy, p, "corrected")) for p in pairs] == [scored((metric, p, "corrected")) for p in pairs]
    if metric.resample is not None:
        assert copy.resample is not None
        numbers: list[Any] = [metric.count(p, "corrected", **metric.defaults) for p in pairs]
        weights = np.array([[1, 1], [2, 0]])
        expected = metric.resample(numbers, weights, "corrected", **metric.defaults)
        assert np.array_equal(copy.resample(numbers, weights, "corrected", **metric.defaults), expected, equal_nan=True)


def test_every_metric_counts_the_same_in_another_process() -> None:
    jobs: list[tuple[Metric, Pair, Mode]] = [
        (metric, pair, mode)
        for metric in plugins.load_all("metrics").values()
        for pair in two_images()
        for mode in MODES
    ]
    elsewhere = list(work.map(scored, jobs, workers=2, how="processes"))
    assert elsewhere == [scored(job) for job in jobs]
    assert len(set(elsewhere)) > len(jobs) / 4
