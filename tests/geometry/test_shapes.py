"""Shapes against scipy and brute force: holes, parts, solidity, overlaps, contacts, whatever overlaps what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from celltable.geometry import rle
from celltable.geometry.masks import Masks
from celltable.geometry.shapes import Shapes, on_border

Stack = NDArray[np.bool_]
stacks = st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(1, 11)).flatmap(lambda s: arrays(bool, s))


def shapes_of(masks: Stack, kinds: list[str] | None = None) -> Shapes:
    size = (int(masks.shape[1]), int(masks.shape[2]))
    return Shapes(Masks.from_arrays(masks, size), kinds)


@given(stacks)
def test_holes_and_parts_are_those_of_scipy_whatever_overlaps(masks: Stack) -> None:
    shapes = shapes_of(masks)
    holes = [ndimage.binary_fill_holes(m) & ~m for m in masks]
    assert shapes.hole_area.tolist() == [int(h.sum()) for h in holes]
    assert shapes.hole_count.tolist() == [ndimage.label(h)[1] for h in holes]
    assert shapes.parts4.tolist() == [ndimage.label(m)[1] for m in masks]
    assert shapes.parts8.tolist() == [ndimage.label(m, np.ones((3, 3)))[1] for m in masks]


@given(stacks)
def test_overlaps_are_those_of_every_pair_of_masks(masks: Stack) -> None:
    n = len(masks)
    pairs = [(i, j, int((masks[i] & masks[j]).sum())) for i in range(n) for j in range(i + 1, n)]
    assert shapes_of(masks).overlaps == [p for p in pairs if p[2]]


def edges_between(a: Masks, b: Masks) -> int:
    """Count the pixel edges that `a` and `b` share."""
    wide = np.pad(b, 1)
    return sum(int((a & wide[1 + r : wide.shape[0] - 1 + r, 1 + c : wide.shape[1] - 1 + c]).sum()) for r, c in SIDES)


SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))


@given(stacks)
def test_contacts_count_the_edges_between_masks_that_share_no_pixel(masks: Stack) -> None:
    pairs = [(i, j) for i in range(len(masks)) for j in range(i + 1, len(masks)) if not (masks[i] & masks[j]).any()]
    expected = [(i, j, edges_between(masks[i], masks[j])) for i, j in pairs]
    assert shapes_of(masks).contacts == [p for p in expected if p[2]]


@given(arrays(np.int8, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(0, 4)))
def test_contacts_of_a_label_map_are_its_borders(label_map: NDArray[np.int8]) -> None:
    masks = np.stack([label_map == k for k in range(1, 5)])
    pairs = [(i, j, edges_between(masks[i], masks[j])) for i in range(4) for j in range(i + 1, 4)]
    assert shapes_of(masks).contacts == [p for p in pairs if p[2]]


@given(stacks)
def test_filling_and_taking_apart_give_the_masks_of_scipy(masks: Stack) -> None:
    shapes, size = shapes_of(masks), (int(masks.shape[1]), int(masks.shape[2]))
    everything = np.arange(len(masks))
    for mask, filled in zip(masks, shapes.filled(everything), strict=True):
        assert (rle.decode(filled, size) == ndimage.binary_fill_holes(mask)).all()
    for mask, parts in zip(masks, shapes.components(everything, 8), strict=True):
        labels, n = ndimage.label(mask, np.ones((3, 3)))
        assert sorted(p.mask for p in parts) == sorted(rle.encode(labels == k) for k in range(1, n + 1))
        assert sum(p.area for p in parts) == mask.sum()


@given(stacks)
def test_taking_other_masks_away_leaves_the_set_difference(masks: Stack) -> None:
    shapes, size = shapes_of(masks), (int(masks.shape[1]), int(masks.shape[2]))
    for i in range(len(masks)):
        others = [j for j in range(len(masks)) if j != i]
        expected = masks[i] & ~masks[others].any(axis=0)
        left, area = shapes.without(i, others)
        assert (rle.decode(left, size) == expected).all()
        assert area == expected.sum()


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_solidity_is_the_area_over_that_of_the_hull_of_all_pixel_corners(mask: Stack) -> None:
    found = float(shapes_of(mask[None]).solidity([0])[0])
    corners = [(r + i, c + j) for r, c in np.argwhere(mask) for i in (0, 1) for j in (0, 1)]
    expected = mask.sum() / ConvexHull(corners).volume if corners else 1.0
    assert found == pytest.approx(expected)


def test_a_nucleus_inside_its_cell_is_no_overlap_and_no_contact() -> None:
    cell = np.zeros((6, 6), bool)
    cell[1:5, 1:5] = True
    nucleus = np.zeros((6, 6), bool)
    nucleus[2:4, 2:4] = True
    masks = np.stack([cell, nucleus])
    shapes = shapes_of(masks, ["cell", "nucleus"])
    assert (shapes.overlaps, shapes.contacts) == ([], [])
    assert shapes.all_overlaps == [(0, 1, 4)]


def test_a_mask_of_another_size_counts_as_empty_and_is_named() -> None:
    small, large = np.ones((2, 2), bool), np.ones((9, 9), bool)
    shapes = Shapes(Masks.of([rle.encode(small), rle.encode(large)], (2, 2)))
    assert shapes.valid.tolist() == [True, False]
    assert shapes.areas.tolist() == [4, 0]


def test_a_box_on_the_border_reaches_the_first_or_last_row_or_column() -> None:
    boxes = [[0, 2, 2, 2], [2, 0, 1, 1], [3, 2, 2, 1], [2, 3, 1, 2], [1, 1, 3, 3], [0, 0, 0, 0]]
    assert on_border(boxes, (5, 5)).tolist() == [True, True, True, True, False, False]
