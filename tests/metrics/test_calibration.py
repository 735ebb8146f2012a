"""Calibration against the formulas written out over plain lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celltable.geometry import rle
from celltable.metrics.calibration import METRIC, lowest_lrp, reliability
from celltable.scoring import Pair, Side, score_pairs

rows = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.7, 0.95, 1.0]), st.booleans(), st.floats(0.5, 1)), max_size=12
)


@given(rows, st.integers(1, 20))
def test_bins_hold_what_the_formula_says(found: list[tuple[float, bool, float]], bins: int) -> None:
    curve = reliability(np.array([r[0] for r in found]), np.array([r[1] for r in found], bool), bins)
    for b in range(bins):
        mine = [r for r in found if min(int(r[0] * bins), bins - 1) == b]
        assert curve["n"][b] == len(mine)
        if mine:
            assert curve["precision"][b] == pytest.approx(sum(r[1] for r in mine) / len(mine))
            assert curve["score"][b] == pytest.approx(sum(r[0] for r in mine) / len(mine))


@settings(max_examples=200)
@given(rows, st.integers(0, 6))
def test_the_least_lrp_is_the_least_over_all_scores(found: list[tuple[float, bool, float]], extra: int) -> None:
    n_gt = sum(r[1] for r in found) + extra
    if not n_gt:
        return
    every = [1.0]
    for score in {r[0] for r in found}:
        kept = [r for r in found if r[0] >= score]
        tp, fp = sum(r[1] for r in kept), sum(not r[1] for r in kept)
        loss = sum((1 - r[2]) / 0.5 for r in kept if r[1])
        every.append((loss + fp + n_gt - tp) / (tp + fp + n_gt - tp))
    columns = np.array([r[0] for r in found]), np.array([r[1] for r in found], bool), np.array([r[2] for r in found])
    assert lowest_lrp(*columns, n_gt, 0.5)[0] == pytest.approx(min(every))


def bar(start: int, stop: int) -> bytes:
    mask = np.zeros((2, 30), bool)
    mask[:, start:stop] = True
    return rle.encode(mask)


def pair(gt: list[bytes], dt: list[bytes], scores: list[float]) -> Pair:
    guess = Side.from_rle(dt, (2, 30), scores=np.array(scores, float))
    return Pair("a", (2, 30), Side.from_rle(gt, (2, 30)), guess)


def test_hits_and_iou_come_from_the_matching() -> None:
    cells, found = [bar(0, 10), bar(20, 30)], [bar(0, 8), bar(12, 15)]
    result = score_pairs(METRIC, [pair(cells, found, [0.8, 0.4])])
    assert result.fields["Brier"] == pytest.approx((0.2**2 + 0.4**2) / 2)
    assert result.value == result.fields["ECE"] == pytest.approx((0.2 + 0.4) / 2)
    assert result.fields["oLRP"] == pytest.approx((0.2 / 0.5 + 1) / 2)  # the best score leaves the false positive out
    assert result.fields["oLRP_score"] == 0.8
    assert result.fields["oLRP_localisation"] == pytest.approx(0.2)
    assert result.fields["oLRP_FN"] == 0.5


def test_a_detection_of_score_one_that_hits_is_calibrated() -> None:
    assert score_pairs(METRIC, [pair([bar(0, 4)], [bar(0, 4)], [1.0])]).value == 0


def test_nothing_detected_or_nothing_to_detect() -> None:
    none = score_pairs(METRIC, [pair([bar(0, 4)], [], [])])
    assert np.isnan(none.value)
    assert none.fields["oLRP"] == 1
    assert np.isnan(score_pairs(METRIC, [pair([], [bar(0, 4)], [0.5])]).fields["oLRP"])


def test_scores_that_are_not_probabilities_are_counted() -> None:
    assert score_pairs(METRIC, [pair([bar(0, 4)], [bar(0, 4)], [7.0])]).skipped == {"scores outside 0 to 1": 1}
