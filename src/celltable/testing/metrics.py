"""The contract of metrics: they match vectors worked out by hand, and depend only on the pairs."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from celltable import plugins
from celltable.errors import MetricError
from celltable.plugins.metric import MODES, Metric, Mode
from celltable.scoring import Pair
from celltable.scoring.arrays import pairs_from_arrays
from celltable.scoring.bootstrap import replicates
from celltable.scoring.engine import evaluate_pairs
from celltable.scoring.parity import worked

from .base import PluginTests

CARD = ("title", "quantity", "authority", "citation", "formula", "matching", "ties", "averaging", "empty")
NEEDS = {"scores", "classes", "tissue", "pixels"}  # what the pairs below have, besides any column in meta


class MetricTests(PluginTests):
    """Tests of a metric; its vectors are in ``vectors/NAME.json`` beside its module."""

    family = "metrics"

    def test_its_vectors_give_the_numbers_worked_out_by_hand(self, plugin: Metric) -> None:
        """``vectors/NAME.json`` beside the module holds label maps of a few pixels and their scores."""
        path = plugins.beside("metrics", plugin.name, f"vectors/{plugin.name}.json")
        assert path.exists(), f"{path} is missing: a few pixels, and the numbers worked out by hand from the definition"
        compared = list(worked(plugin.name))
        assert compared
        for what, found, expected in compared:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=what)

    def test_its_card_states_the_protocol(self, plugin: Metric) -> None:
        """The card states the matching rule, tie rule, averaging and empty images in words."""
        for entry in CARD:
            assert getattr(plugin.card, entry).strip(), f"the card says nothing about {entry}"
        assert plugin.better in ("higher", "lower", "zero")

    @pytest.mark.parametrize("mode", MODES)
    def test_numbers_of_images_can_be_sent_and_kept(self, plugin: Metric, mode: Mode) -> None:
        """What count() returns is small and picklable, and pools to the same score after pickling."""
        pairs = _pairs(plugin)
        numbers = _counted(plugin, pairs, mode)
        sent = pickle.dumps(numbers)
        assert len(sent) < 20_000 * len(pairs)
        again = plugin.pool(pickle.loads(sent), mode, **plugin.defaults)
        first = plugin.pool(numbers, mode, **plugin.defaults)
        np.testing.assert_equal(again.value, first.value)
        assert isinstance(first.value, float)

    def test_neither_order_nor_workers_change_the_score(self, plugin: Metric) -> None:
        """The score, its interval and per-image values are the same for any order and number of threads."""
        pairs = _pairs(plugin)
        one, other = (
            evaluate_pairs(given, [plugin.name], workers=workers, rounds=20).to_dict()
            for given, workers in ((pairs, 1), (pairs[::-1], 3))
        )
        assert json.dumps(one["scores"]) == json.dumps(other["scores"])

    @pytest.mark.parametrize("mode", MODES)
    def test_the_value_of_an_image_is_that_of_pooling_it_alone(self, plugin: Metric, mode: Mode) -> None:
        """value_of() equals pool([numbers]).value, if that is defined."""
        if plugin.value_of is None:
            pytest.skip("it has no value_of(), so its value is pooled")
        for numbers in _counted(plugin, _pairs(plugin), mode):
            pooled = plugin.pool([numbers], mode, **plugin.defaults).value
            if np.isnan(pooled):
                continue
            np.testing.assert_allclose(plugin.one(numbers, mode, **plugin.defaults), pooled, rtol=1e-6)

    @pytest.mark.parametrize("mode", MODES)
    def test_resampling_equals_pooling_the_drawn_images(self, plugin: Metric, mode: Mode) -> None:
        """resample() equals pooling repeated images."""
        if plugin.resample is None:
            pytest.skip("it has no resample(), so drawn images are pooled")
        numbers, options = _counted(plugin, _pairs(plugin), mode), plugin.defaults
        fast = replicates(plugin, numbers, mode, options, 8, seed=3)
        slow = replicates(replace(plugin, resample=None), numbers, mode, options, 8, seed=3)
        assert fast is not None
        assert slow is not None
        np.testing.assert_allclose(fast, slow, rtol=1e-6)


def _counted(metric: Metric, pairs: list[Pair], mode: Mode) -> list[Any]:
    try:
        return [metric.count(pair, mode, **metric.defaults) for pair in pairs]
    except MetricError as exc:
        pytest.skip(f"{mode} mode refuses the pairs: {exc}")


def _pairs(metric: Metric) -> list[Pair]:
    """Make six images with scores, classes and all else that the metric needs; no two are predicted equally well."""
    gt = [_cells(seed) for seed in range(6)]
    pred = [np.roll(cells, seed % 3, axis=1) for seed, cells in enumerate(gt)]
    labels = [[np.unique(cells)[1:].tolist() for cells in side] for side in (gt, pred)]
    classes = tuple([{i: ("round", "flat")[i % 2] for i in ids} for ids in side] for side in labels)
    scores = [{i: 0.95 - (8 * seed + i) / 100 for i in ids} for seed, ids in enumerate(labels[1])]
    columns = {*(metric.needs - NEEDS), "tissue"}
    meta = [{column: f"{column} {k % 2}" for column in columns} for k in range(6)]
    return pairs_from_arrays(gt, pred, classes=(classes[0], classes[1]), scores=scores, meta=meta)


def _cells(seed: int, size: int = 40) -> NDArray[np.int32]:
    rng = np.random.default_rng(seed)
    cells = np.zeros((size, size), np.int32)
    for label in range(1, 9):
        y, x = rng.integers(0, size - 7, 2)
        cells[y : y + rng.integers(3, 7), x : x + rng.integers(3, 7)] = label
    return cells
