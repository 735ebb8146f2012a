"""The overlap table against brute force, of label maps, strips and lists of masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from celltable.errors import MaskError
from celltable.geometry.masks import Masks, from_label_map
from celltable.geometry.overlap import Overlap, overlap_of_label_maps, overlap_of_masks, overlap_of_strips

pairs_of_maps = hnp.array_shapes(min_dims=2, max_dims=2, max_side=45).flatmap(
    lambda shape: st.tuples(
        *[hnp.arrays(st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]), shape, elements=st.integers(0, 5))] * 2
    )
)


def brute(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for x, y in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
        if x and y:
            found[x, y] = found.get((x, y), 0) + 1
    return dict(sorted(found.items()))


def as_dict(t: Overlap) -> dict[tuple[int, int], int]:
    ids = zip(t.gt_ids[t.gt_index].tolist(), t.pred_ids[t.pred_index].tolist(), strict=True)
    return dict(zip(ids, t.intersection.tolist(), strict=True))


@given(pairs_of_maps, st.integers(1, 9), st.sampled_from([0, 70_000, 2**33]))
def test_the_table_is_that_of_brute_force(
    maps: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], rows: int, shift: int
) -> None:
    a, b = maps
    if shift:
        a = np.where(a > 0, a.astype(np.int64) + shift, 0)
    table = overlap_of_label_maps(a, b)
    assert as_dict(table) == brute(a, b)
    assert list(as_dict(table)) == sorted(as_dict(table))
    for ids, areas, boxes, m in (
        (table.gt_ids, table.gt_areas, table.gt_boxes, a),
        (table.pred_ids, table.pred_areas, table.pred_boxes, b),
    ):
        found = from_label_map(m)
        assert ids.tolist() == found.ids.tolist()
        assert areas.tolist() == found.masks.areas.tolist()
        assert boxes.tolist() == found.masks.boxes.tolist()
    strips = overlap_of_strips((a[r : r + rows], b[r : r + rows]) for r in range(0, len(a), rows))
    assert as_dict(strips) == as_dict(table)
    assert strips.gt_boxes.tolist() == table.gt_boxes.tolist()


def test_large_labels_of_strips_in_any_order_come_out_sorted() -> None:
    a = np.array([[2**40, 0], [2**35, 2**35]])
    table = overlap_of_strips([(a[:1], a[:1]), (a[1:], a[1:])])
    assert table.gt_ids.tolist() == [2**35, 2**40]
    assert as_dict(table) == {(2**35, 2**35): 2, (2**40, 2**40): 1}
    assert table.gt_boxes.tolist() == [[0, 1, 2, 1], [0, 0, 1, 1]]


@pytest.mark.parametrize("base", [0, 2**40])
def test_rows_shared_among_threads_give_the_table_of_strips_too_small_to_share(base: int) -> None:
    rng = np.random.default_rng(0)
    sides = [np.kron(rng.integers(0, 2000, (16, 20)), np.ones((130, 110), np.int64)) for _ in range(2)]
    gt, pred = (np.where(side % 3 == 0, 0, side + base) for side in (sides[0], np.roll(sides[1], (37, 5), (0, 1))))
    assert gt.size > 4 << 20
    whole = overlap_of_label_maps(gt, pred)
    strips = overlap_of_strips((gt[r : r + 50], pred[r : r + 50]) for r in range(0, len(gt), 50))
    for name in Overlap.__slots__:
        np.testing.assert_array_equal(getattr(whole, name), getattr(strips, name), err_msg=name)
    assert whole.gt_ids.tolist() == np.unique(gt[gt > 0]).tolist()


@given(st.lists(hnp.arrays(bool, (5, 6), elements=st.integers(0, 9).map(lambda v: v == 0)), max_size=6))
def test_masks_are_disjoint_where_no_pixel_is_in_two(masks: list[np.ndarray[Any, Any]]) -> None:
    covered = np.sum(masks, axis=0) if masks else np.zeros(1)
    assert Masks.from_arrays(masks, (5, 6)).disjoint == bool((covered <= 1).all())


def test_many_pairs_are_all_kept() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3000, (200, 200)), rng.integers(0, 3000, (200, 200))
    assert as_dict(overlap_of_label_maps(a, b)) == brute(a, b)


@given(st.integers(0, 200), st.integers(0, 8), st.integers(0, 8))
def test_lists_of_masks_that_overlap(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(1, 60)), int(rng.integers(1, 60)))

    def blobs(k: int) -> list[np.ndarray[Any, Any]]:
        out = []
        for _ in range(k):
            mask = np.zeros(size, bool)
            r, c = rng.integers(0, size[0]), rng.integers(0, size[1])
            mask[r : r + rng.integers(0, 30), c : c + rng.integers(0, 30)] = True
            out.append(mask & (rng.random(size) < 0.9))
        return out

    a, b = blobs(n), blobs(m)
    table = overlap_of_masks(Masks.from_arrays(a, size), Masks.from_arrays(b, size))
    expected = {(i, j): int((x & y).sum()) for i, x in enumerate(a) for j, y in enumerate(b) if (x & y).any()}
    assert as_dict(table) == expected
    assert table.gt_areas.tolist() == [int(x.sum()) for x in a]


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "2 × 3 px, the prediction 3 × 2"),
        (np.zeros((2, 3)), np.zeros((2, 3)), "holds integers"),
        (np.array([[-1]], np.int32), np.array([[0]], np.int32), "negative label -1"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(
    a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], message: str
) -> None:
    with pytest.raises(MaskError, match=message):
        overlap_of_label_maps(a, b)
