"""Strict mode against slow transparent transcriptions of the rules, on random label maps, and what must not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from celltable import plugins
from celltable._native import pairing
from celltable.plugins.metric import Metric
from celltable.scoring import Pair, Side, score_pairs

Map = NDArray[np.int32]
LABEL_MAP_METRICS = (
    "aji_cellpose",
    "aji_kumar2017",
    "aji_plus",
    "ap_cellpose",
    "ap_dsb2018",
    "ap_stardist",
    "bias",
    "boundary_f_cellpose",
    "det_ctc",
    "dice_ensemble",
    "dice_pixel",
    "errors_caicedo",
    "f_cellvit",
    "f_hovernet",
    "iou_pixel",
    "mae",
    "mape",
    "pq_cellvit",
    "pq_conic",
    "pq_hovernet",
    "pq_monusac",
    "pq_pannuke",
    "seg_ctc",
)


def metric(name: str) -> Metric:
    loaded = plugins.load("metrics", name)
    assert isinstance(loaded, Metric)
    return loaded


def pair(gt: Map, pred: Map, image_id: str = "a", **side: Any) -> Pair:
    size = (gt.shape[0], gt.shape[1])
    return Pair(image_id, size, Side.from_label_map(gt, **side), Side.from_label_map(pred, **side))


@st.composite
def maps(draw: st.DrawFn) -> tuple[Map, Map]:
    """Draw two small maps of rectangles; the second is partly the first, moved and cut."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    h, w = rng.integers(8, 24, 2)
    gt, pred = np.zeros((h, w), np.int32), np.zeros((h, w), np.int32)
    for k in range(1, int(rng.integers(0, 9))):
        y, x, dy, dx = rng.integers(0, h), rng.integers(0, w), *rng.integers(1, 8, 2)
        gt[y : y + dy, x : x + dx] = k
        sy, sx = rng.integers(-1, 2, 2)
        if rng.random() < 0.8:
            pred[max(y + sy, 0) : y + dy + rng.integers(-1, 2), max(x + sx, 0) : x + dx] = rng.integers(1, 12)
    gt[0, 0] = pred[0, 0] = 0  # the official scripts need background
    return gt, pred


def overlaps(gt: Map, pred: Map) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Compute areas and the dense overlap matrix by comparing every label with every other."""
    g, p = (np.unique(m)[np.unique(m) > 0] for m in (gt, pred))
    c = np.array([[np.sum((gt == i) & (pred == j)) for j in p] for i in g], np.float64).reshape(len(g), len(p))
    return np.array([np.sum(gt == i) for i in g], np.float64), np.array([np.sum(pred == j) for j in p], np.float64), c


def iou_of(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> NDArray[Any]:
    return c / (a[:, None] + b[None, :] - c) if c.size else c


@given(maps())
@settings(max_examples=60, deadline=None)
def test_panoptic_quality_and_aji_plus_equal_the_dense_rule(data: tuple[Map, Map]) -> None:
    a, b, c = overlaps(*data)
    if not len(a):
        return
    iou = iou_of(a, b, c)
    for t in (0.5, 0.3, 0.1):
        rows, columns = linear_sum_assignment(-iou)
        if t >= 0.5:
            rows, columns = np.nonzero(iou > t)
        kept = iou[rows, columns] > t
        tp, total = int(kept.sum()), iou[rows, columns][kept].sum()
        dq, sq = tp / (tp + 0.5 * (len(b) - tp) + 0.5 * (len(a) - tp)), total / (tp + 1e-6)
        found = metric("pq_hovernet").count(pair(*data), "strict", match_iou=t)
        assert found["dq"] == dq
        assert found["pq"] == pytest.approx(dq * sq, abs=1e-12)
    rows, columns = linear_sum_assignment(-c / (a[:, None] + b[None, :] - c + 1e-6))
    kept = c[rows, columns] > 0
    rows, columns = rows[kept], columns[kept]
    inside = c[rows, columns].sum()
    below = (a[rows] + b[columns] - c[rows, columns]).sum() + np.delete(a, rows).sum() + np.delete(b, columns).sum()
    assert metric("aji_plus").count(pair(*data), "strict")["aji_plus"] == pytest.approx(inside / below, abs=1e-12)


@given(maps())
@settings(max_examples=60, deadline=None)
def test_aji_equals_the_argmax_rule(data: tuple[Map, Map]) -> None:
    a, b, c = overlaps(*data)
    if not len(b) or not len(a):
        return
    q = c / (a[:, None] + b[None, :] - c + 1e-6)
    inside = below = 0.0
    used = set()
    for i in range(len(a)):
        j = int(np.argmax(q[i]))
        if q[i, j] > 0:
            inside += c[i, j]
            below += a[i] + b[j] - c[i, j]
            used.add(j)
        else:
            below += a[i]
    below += sum(b[j] for j in range(len(b)) if j not in used)
    assert metric("aji_kumar2017").count(pair(*data), "strict")["aji"] == inside / below


@given(maps())
@settings(max_examples=60, deadline=None)
def test_stardist_and_cellpose_hits_equal_the_dense_hungarian(data: tuple[Map, Map]) -> None:
    a, b, c = overlaps(*data)
    thresholds = (0.1, 0.25, 1 / 3, 0.5, 0.6, 0.75)
    for name, dtype in (("ap_stardist", np.float32), ("ap_cellpose", np.float64)):
        found = metric(name).count(pair(*data), "strict", thresholds=thresholds, criterion="iou")
        s: NDArray[Any] = iou_of(a, b, c).astype(dtype)
        for t, tp in zip(thresholds, found["tp"], strict=True):
            n = max(min(s.shape), 1)
            cost = -(s >= t).astype(float) - s / (2 * n)
            rows, columns = linear_sum_assignment(cost)
            assert tp == int((s[rows, columns] >= t).sum()), (name, t)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_sparse_assignment_is_as_good_as_the_dense_solver(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = (int(v) for v in rng.integers(1, 14, 2))
    dense = rng.random((n, m)) * (rng.random((n, m)) < rng.random())
    if seed % 2:
        dense = np.round(dense * 4) / 4
    g, p = np.nonzero(dense)
    taken = pairing.assign(g.astype(np.int64), p.astype(np.int64), dense[g, p], n, m).astype(bool)
    assert len(set(g[taken])) == len(set(p[taken])) == taken.sum()
    rows, columns = linear_sum_assignment(-dense)
    assert dense[g, p][taken].sum() == pytest.approx(dense[rows, columns].sum(), abs=1e-9)


def test_assignment_refuses_edges_outside_the_graph() -> None:
    one = np.array([5], np.int64)
    with pytest.raises(ValueError, match="outside the graph"):
        pairing.assign(one, one, np.array([1.0]), 2, 2)


def outline_by_flood(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find object pixels next to background that is connected to the frame."""
    from skimage.measure import label

    framed = np.pad(mask, 1)
    outside = label(~framed, connectivity=1)  # type: ignore[no-untyped-call]
    beyond = outside == outside[0, 0]
    near = np.zeros_like(framed)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        near |= np.roll(beyond, step, axis)
    return (framed & near)[1:-1, 1:-1]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_outlines_equal_a_flood_from_the_frame_of_every_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    label_map = rng.integers(0, 4, rng.integers(1, 16, 2)).astype(np.int32) * (rng.random() < 0.9)
    label_map = np.kron(label_map, np.ones((2, 1), np.int32)) if seed % 2 else label_map
    expected = np.zeros(label_map.shape, bool)
    for k in range(1, 4):
        expected |= outline_by_flood(label_map == k)
    assert np.array_equal(pairing.outlines(np.ascontiguousarray(label_map)).astype(bool), expected)


@given(maps(), st.sampled_from([1.0, 1.5, 2.0, 3.7]))
@settings(max_examples=60, deadline=None)
def test_boundary_counts_equal_a_brute_force_disc(data: tuple[Map, Map], radius: float) -> None:
    from scipy.ndimage import convolve

    reach = int(np.ceil(radius))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (((dy**2 + dx**2) ** 0.5) <= radius).astype(np.int64)
    thick = [convolve(pairing.outlines(m).astype(np.int64), disc, mode="constant") > 0 for m in data]
    expected = [(thick[0] & thick[1]).sum(), thick[0].sum(), thick[1].sum()]
    assert pairing.boundary(data[0], data[1], [radius], False)[0].tolist() == expected


def test_wide_discs_wrap_at_256_outline_pixels_as_scipy_does() -> None:
    from scipy.ndimage import convolve

    rng = np.random.default_rng(0)
    gt = np.arange(1, 40 * 40 + 1, dtype=np.int32).reshape(40, 40) * (rng.random((40, 40)) < 0.9)
    radius = 9.6
    dy, dx = np.mgrid[-10:11, -10:11]
    disc = (((dy**2 + dx**2) ** 0.5) <= radius).astype(np.int64)
    sums = convolve(pairing.outlines(gt).astype(np.int64), disc)  # mirrored at the border, as by default
    assert (sums == 256).any()
    both, n_gt, n_pred = pairing.boundary(gt, gt, [radius], True)[0].tolist()
    assert both == n_gt == n_pred == int((sums % 256 != 0).sum())
    assert pairing.boundary(gt, gt, [radius], False)[0, 1] == int((sums > 0).sum())


def fields_of(pairs: list[Pair], name: str) -> Any:
    result = score_pairs(metric(name), pairs)
    return result.value, {k: v for k, v in result.fields.items() if isinstance(v, int | float)}


def close(one: Any, two: Any) -> bool:
    return bool(
        np.isclose(one[0], two[0], rtol=1e-12, equal_nan=True)
        and all(np.isclose(one[1][k], two[1][k], rtol=1e-12, equal_nan=True) for k in one[1])
    )


@pytest.mark.parametrize("name", LABEL_MAP_METRICS)
@given(data=maps(), seed=st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_order_preserving_renumbering_transposing_and_a_margin_change_nothing(
    name: str, data: tuple[Map, Map], seed: int
) -> None:
    gt, pred = data
    rng = np.random.default_rng(seed)
    new = np.concatenate([[0], np.cumsum(rng.integers(1, 1000, 12))]).astype(np.int32)
    before = fields_of([pair(gt, pred)], name)
    assert close(before, fields_of([pair(new[gt], new[pred])], name))
    if name not in ("aji_kumar2017", "aji_cellpose", "aji_plus"):  # among equally good pairings the ids decide
        shuffled = np.concatenate([[0], 1 + rng.permutation(12)]).astype(np.int32)
        assert close(before, fields_of([pair(shuffled[gt], shuffled[pred])], name))
    assert close(before, fields_of([pair(gt.T.copy(), pred.T.copy())], name))
    if name != "boundary_f_cellpose":  # a margin gives outlines more room
        assert close(before, fields_of([pair(np.pad(gt, 3), np.pad(pred, 3))], name))


def test_by_class_tables_hold_what_separate_class_maps_hold() -> None:
    rng = np.random.default_rng(5)
    gt, pred = rng.integers(0, 9, (2, 12, 12)).astype(np.int32)
    codes = rng.integers(0, 3, 8)
    words = ("a", "b", "c")
    whole = pair(gt, pred, class_codes=codes.astype(np.int64), class_names=words)
    for k, table in enumerate(whole.table.by_class(3)):
        inside = np.isin(np.arange(9), 1 + np.flatnonzero(codes == k))
        alone = pair(gt * inside[gt], pred * inside[pred]).table
        assert table.gt_areas.tolist() == alone.gt_areas.tolist()
        assert table.iou.tolist() == alone.iou.tolist()
        assert table.gt_index.tolist() == alone.gt_index.tolist()
