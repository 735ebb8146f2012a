"""Label maps in bulk: exact counts, and predictions with the requested flaws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from celltable.errors import InputError
from celltable.synthetic import Flaws, label_maps, perturb, random_scores

NONE = Flaws(0, 0, 0, 0, 0, 0, 0)


def ids(label_map: NDArray[Any]) -> list[int]:
    return sorted(set(label_map.ravel().tolist()) - {0})


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 80), cols=st.integers(1, 80), share=st.floats(0, 0.25), seed=st.integers(0, 10**9))
def test_ground_truth_has_exactly_the_requested_cells(rows: int, cols: int, share: float, seed: int) -> None:
    n = int(rows * cols * share)
    gt, pred = label_maps(n, (rows, cols), seed)
    assert gt.shape == pred.shape == (rows, cols)
    assert gt.dtype == pred.dtype == np.int32
    assert ids(gt) == list(range(1, n + 1))
    assert ids(pred) == list(range(1, int(pred.max()) + 1))


def test_pairs_repeat_by_seed_and_many_cells_touch() -> None:
    one, two, other = label_maps(300, seed=4), label_maps(300, seed=4), label_maps(300, seed=5)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], other[0])
    gt = one[0]
    meet = (gt[1:] != gt[:-1]) & (gt[1:] > 0) & (gt[:-1] > 0)
    assert len(set(gt[1:][meet].tolist())) > 60


def test_most_predictions_match_and_some_do_not() -> None:
    gt, pred = label_maps(300, seed=1)
    best = []
    for k in ids(gt):
        own = gt == k
        hit = pred[own][pred[own] > 0]
        part = pred == np.bincount(hit).argmax() if hit.size else np.zeros_like(own)
        best.append(np.count_nonzero(part & own) / np.count_nonzero(part | own))
    assert 0.7 < np.mean(np.array(best) > 0.5) < 0.97


@pytest.mark.parametrize(
    ("flaws", "low", "high"),
    [
        (NONE, 400, 400),
        (NONE._replace(drop=1.0), 0, 0),
        (NONE._replace(drop=0.5), 150, 250),
        (NONE._replace(split=1.0), 700, 800),
        (NONE._replace(merge=1.0), 5, 330),
        (NONE._replace(spurious=0.5), 450, 600),
    ],
)
def test_each_flaw_does_what_its_name_says(flaws: Flaws, low: int, high: int) -> None:
    gt, _ = label_maps(400, (400, 500), seed=2)
    assert low <= int(perturb(gt, 3, flaws=flaws).max()) <= high


def test_growing_and_shrinking_change_the_areas() -> None:
    gt, _ = label_maps(50, (400, 500), seed=2)
    area = np.count_nonzero(gt)
    assert np.count_nonzero(perturb(gt, flaws=NONE._replace(grow=1.0))) > area
    assert np.count_nonzero(perturb(gt, flaws=NONE._replace(shrink=1.0))) < area


def test_no_flaws_renumber_only_and_leave_the_input_alone() -> None:
    label_map = np.array([[0, 70_000, 70_000], [9, 9, 0]], np.uint32)
    before = label_map.copy()
    assert perturb(label_map, flaws=NONE).tolist() == [[0, 2, 2], [1, 1, 0]]
    perturb(label_map, 1)
    assert np.array_equal(label_map, before)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros(4, int), np.array([[-1]]), np.zeros((0, 3), int)])
def test_arrays_that_are_not_label_maps_are_refused(bad: NDArray[Any]) -> None:
    with pytest.raises(InputError):
        perturb(bad)


def test_too_many_cells_for_the_image_are_refused() -> None:
    with pytest.raises(InputError, match="expected 0 to 25"):
        label_maps(26, (10, 10))


def test_scores_follow_quality_and_have_ties() -> None:
    quality = np.linspace(0, 1, 5000)
    scores = random_scores(5000, 1, quality=quality)
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert np.corrcoef(scores, quality)[0, 1] > 0.8
    assert len(np.unique(scores)) < 1002
    assert np.array_equal(random_scores(9, 2), random_scores(9, 2))
