"""Sides of a pair: label maps, run lengths that overlap, and class layers give the same tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from celltable import plugins
from celltable.geometry import rle
from celltable.scoring import Pair, Side, score_pairs

METRICS = ("ap_dsb2018", "ap_stardist", "aji_plus", "dice_pixel", "boundary_f_cellpose", "f_hovernet", "mae")


def as_rle(masks: list[NDArray[np.bool_]], size: tuple[int, int], **columns: Any) -> Side:
    return Side.from_rle([rle.encode(m) for m in masks], size, **columns)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_run_lengths_that_do_not_overlap_score_as_their_label_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 6, (2, 9, 12)).astype(np.int32)
    gt, pred = (Side.from_label_map(m) for m in maps)
    runs = [as_rle([m == k for k in np.unique(m)[np.unique(m) > 0]], (9, 12)) for m in maps]
    one, other = Pair("a", (9, 12), gt, pred), Pair("a", (9, 12), runs[0], runs[1])
    assert other.flat is other.overlap
    for name in METRICS:
        metric = plugins.load("metrics", name)
        assert score_pairs(metric, [one]).value == score_pairs(metric, [other]).value, name


def test_overlapping_cells_are_painted_for_label_map_protocols_and_kept_for_the_others() -> None:
    lower, upper = np.zeros((2, 1, 6), bool)
    lower[0, :4], upper[0, 2:] = True, True
    gt = as_rle([lower, upper], (1, 6))
    pred = Side.from_label_map(np.array([[1, 1, 1, 1, 0, 0]]))
    pair = Pair("a", (1, 6), gt, pred)
    assert pair.gt.overlapping
    assert pair.overlap.gt_areas.tolist() == [4, 4]
    assert pair.overlap.intersection.tolist() == [4, 2]
    assert pair.table.gt_areas.tolist() == [2, 4]  # the later cell is on top
    assert pair.table.intersection.tolist() == [2, 2]


def test_a_cell_that_is_wholly_covered_is_gone_from_the_painted_table() -> None:
    one = np.ones((1, 3), bool)
    pair = Pair("a", (1, 3), as_rle([one, one], (1, 3)), Side.from_label_map(np.array([[5, 5, 5]])))
    assert len(pair.gt) == 2
    assert pair.table.n_gt == 1
    assert pair.class_table.n_gt == 2


def test_class_layers_that_share_pixels_keep_both_cells_and_paint_the_later_class() -> None:
    stack = np.zeros((2, 3, 2), np.int32)
    stack[:, :2, 0], stack[:, 1:, 1] = 7, 4
    side = Side.from_layers(stack, ("a", "b"))
    assert side.overlapping
    assert side.areas.tolist() == [4, 4]
    assert side.label_map.tolist() == [[1, 2, 2], [1, 2, 2]]
    pair = Pair("a", (2, 3), side, side)
    found = plugins.load("metrics", "pq_pannuke").count(pair, "corrected")
    assert [round(v, 5) for v in found["classes"]] == [1.0, 1.0]


def test_restricting_a_pair_equals_making_it_of_fewer_cells() -> None:
    rng = np.random.default_rng(3)
    gt, pred = rng.integers(0, 7, (2, 10, 10)).astype(np.int32)
    keep = np.array([True, False, True, True, False, True])
    part = Pair("a", (10, 10), Side.from_label_map(gt), Side.from_label_map(pred)).kept(keep, ~keep)
    kept = np.concatenate([[False], keep])
    alone = Pair("a", (10, 10), Side.from_label_map(gt * kept[gt]), Side.from_label_map(pred * ~kept[pred]))
    for name in METRICS:
        metric = plugins.load("metrics", name)
        assert score_pairs(metric, [part]).value == score_pairs(metric, [alone]).value, name
