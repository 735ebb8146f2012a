"""Maps wider than a machine word of pixels, in every integer type: what the word-wise scan finds, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco
from scipy import ndimage

from celltable.errors import MaskError
from celltable.geometry import label_map as maps
from celltable.geometry import polygon, rle
from celltable.geometry.masks import Masks, from_label_map
from celltable.geometry.overlap import overlap_of_label_maps, overlap_of_masks

TYPES = (np.uint8, np.uint16, np.int32, np.int64)
Map = np.ndarray[Any, Any]


def random_map(seed: int, dtype: Any, largest: int = 5) -> Map:
    """Runs of random lengths, some of one pixel and some of several words, some rows equal to the one above."""
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 9)), int(rng.integers(1, 1200))
    rows: list[Map] = []
    while len(rows) < height:
        if rows and rng.random() < 0.3:
            rows.append(rows[-1])
            continue
        lengths = rng.choice([1, 2, 15, 63, 64, 65, 200], size=width)
        values = rng.integers(0, largest + 1, size=width)
        rows.append(np.repeat(values, lengths)[:width])
    return np.stack(rows).astype(dtype)


def coco_encode(mask: Map) -> bytes:
    return bytes(coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"])


@given(st.integers(0, 10_000), st.sampled_from(TYPES))
def test_run_lengths_of_wide_and_of_tall_maps_are_those_of_each_mask(seed: int, dtype: Any) -> None:
    wide = random_map(seed, dtype)
    for labels in (wide, np.ascontiguousarray(wide.T), wide.T):
        found = from_label_map(labels)
        ids = [i for i in np.unique(labels).tolist() if i]
        assert found.ids.tolist() == ids
        assert found.masks == [coco_encode(labels == i) for i in ids]
        np.testing.assert_array_equal(found.masks.flatten(found.ids).label_map, labels)


@given(st.integers(0, 10_000), st.sampled_from(TYPES))
def test_measures_and_components_of_wide_maps(seed: int, dtype: Any) -> None:
    labels = random_map(seed, dtype)
    found = maps.measure(labels)
    assert found.areas.tolist() == [int((labels == i).sum()) for i in found.ids]
    for i, (x, y, w, h) in zip(found.ids.tolist(), found.boxes.tolist(), strict=True):
        rows, columns = np.nonzero(labels == i)
        assert (x, y, x + w - 1, y + h - 1) == (columns.min(), rows.min(), columns.max(), rows.max())
    parts = maps.components(labels, 4)
    assert parts.max() == sum(ndimage.label(labels == i)[1] for i in found.ids)
    assert all(len(np.unique(labels[parts == k])) == 1 for k in range(1, min(int(parts.max()), 20) + 1))


@given(st.integers(0, 10_000), st.sampled_from(TYPES), st.sampled_from(TYPES))
def test_overlaps_of_wide_maps_are_the_joint_histogram(seed: int, gt_type: Any, pred_type: Any) -> None:
    gt = random_map(seed, gt_type)
    pred = np.resize(random_map(seed + 1, pred_type), gt.shape)
    table = overlap_of_label_maps(gt, pred)
    expected, pixels = np.unique(np.stack([gt.ravel(), pred.ravel()]), axis=1, return_counts=True)
    both = (expected > 0).all(axis=0)
    found = np.stack([table.gt_ids[table.gt_index], table.pred_ids[table.pred_index]])
    np.testing.assert_array_equal(found, expected[:, both])
    assert table.intersection.tolist() == pixels[both].tolist()
    assert table.gt_areas.tolist() == from_label_map(gt).masks.areas.tolist()
    assert table.pred_boxes.tolist() == from_label_map(pred).masks.boxes.tolist()


def test_more_pairs_than_the_first_table_holds() -> None:
    rng = np.random.default_rng(0)
    gt, pred = rng.integers(0, 300, (90, 700)), rng.integers(0, 300, (90, 700)) * 7001
    table = overlap_of_label_maps(gt, pred)
    joint = np.unique(np.stack([gt.ravel(), pred.ravel()]), axis=1, return_counts=True)
    both = (joint[0] > 0).all(axis=0)
    assert table.intersection.tolist() == joint[1][both].tolist()
    np.testing.assert_array_equal(table.pred_ids[table.pred_index], joint[0][1, both])


corners = st.one_of(st.integers(-40, 140), st.floats(-40, 140), st.sampled_from([0.5, 0.7, 99.5, 100.0, -0.1, -0.3]))


@given(st.lists(st.tuples(corners, corners), min_size=3, max_size=12))
def test_polygons_that_leave_the_image_are_drawn_as_pycocotools_draws_them(points: list[tuple[float, float]]) -> None:
    flat = [float(v) for p in points for v in p]
    for size in ((100, 100), (7, 90), (90, 7)):
        expected = coco.merge(coco.frPyObjects([flat], *size))["counts"]
        assert polygon.to_rle([flat], size) == expected


def test_a_vertex_far_outside_costs_no_time_and_not_finite_ones_are_refused() -> None:
    drawn = polygon.to_rle([[-1e8, -1e8, 1e8, -1e8, 1e8, 1e8, -1e8, 1e8]], (5, 6))
    assert Masks.of([drawn], (5, 6)).areas.tolist() == [30]
    for bad in (float("nan"), float("inf"), 1e300):
        with pytest.raises(MaskError, match="beyond any image"):
            polygon.to_rle([[0, 0, bad, 1, 2, 2]], (5, 5))


def test_lists_tuples_and_arrays_of_points_are_the_same_polygon() -> None:
    flat = [1, 1, 4.5, 1, 4.5, 3.25]
    forms: list[Any] = [
        flat,
        tuple(flat),
        np.array(flat),
        np.array(flat).reshape(3, 2),
        np.array(flat, np.float32),
        [[1, 1], [4.5, 1], [4.5, 3.25]],
    ]
    assert {polygon.to_rle([form], (5, 6)) for form in forms} == {polygon.to_rle([flat], (5, 6))}
    assert {polygon.pack([form]) for form in forms} == {polygon.pack([flat])}
    with pytest.raises(MaskError, match="7 coordinates"):
        polygon.to_rle([[*flat, 1]], (5, 6))


def test_offsets_that_do_not_ascend_are_refused() -> None:
    with pytest.raises(MaskError, match="offsets must ascend"):
        polygon.pack_flat(np.zeros(6), [0, 3], [5, 0])
    with pytest.raises(MaskError, match="offsets must ascend"):
        polygon.flat_to_masks(np.zeros(6), [0, 9, 3], [0, 2], (5, 5))


def test_two_specks_in_a_huge_image_need_no_grid_of_its_size() -> None:
    size = (1 << 20, 1 << 20)
    specks = Masks.of([rle.from_runs([5, (1 << 40) - 9], [3, 4], size)], size)
    assert overlap_of_masks(specks, specks).intersection.tolist() == [7]
    assert specks.iou(specks).tolist() == [[1.0]]


def test_labels_that_int32_cannot_hold_are_refused_not_wrapped() -> None:
    masks = Masks.from_arrays([np.ones((2, 2), bool)], (2, 2))
    for ids in ([1 << 40], np.array([1 << 40]), np.array([-(1 << 31) - 1])):
        with pytest.raises(MaskError, match="holds int32 labels"):
            masks.flatten(ids)
    with pytest.raises(MaskError, match="whole numbers; found float64"):
        masks.flatten([1.5])


@pytest.mark.parametrize("size", [(1 << 70, 2), (-1, 2), (1 << 31, 1 << 31), (1 << 21, 1 << 20)])
def test_sizes_that_no_image_has_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(MaskError, match="at most 2\\^40 pixels"):
        Masks.of([b"22"], size)
    with pytest.raises(MaskError, match="at most 2\\^40 pixels"):
        rle.to_runs(b"22", size)
