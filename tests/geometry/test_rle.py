"""Run lengths against pycocotools and brute force: texts byte for byte, areas, boxes, IoU, painting, holes, parts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco
from scipy import ndimage

from celltable.errors import MaskError
from celltable.geometry import label_map as maps
from celltable.geometry import rle
from celltable.geometry.masks import POLICIES, Masks, from_label_map

masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14))
label_maps = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int32, np.int64, np.uint32, np.int16]),
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.integers(0, 4),
)


def coco_encode(mask: np.ndarray[Any, Any]) -> bytes:
    return bytes(coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"])


def as_coco(counts: list[bytes], size: tuple[int, int]) -> list[dict[str, Any]]:
    return [{"size": list(size), "counts": c} for c in counts]


def several(mask: np.ndarray[Any, Any], seed: int, n: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return [mask & (rng.random(mask.shape) < 0.7) for _ in range(n)]


@given(masks)
def test_texts_areas_and_boxes_are_those_of_pycocotools(mask: np.ndarray[Any, Any]) -> None:
    counts = rle.encode(mask)
    assert counts == coco_encode(mask)
    assert rle.encode(np.asfortranarray(mask)) == counts
    np.testing.assert_array_equal(rle.decode(counts, mask.shape), mask)
    one = Masks.of([counts], mask.shape)
    assert one.areas.tolist() == [mask.sum()]
    np.testing.assert_array_equal(one.boxes[0], coco.toBbox(as_coco([counts], mask.shape)[0]))


@given(label_maps, st.booleans())
def test_a_label_map_in_one_pass_equals_mask_after_mask(labels: np.ndarray[Any, Any], fortran: bool) -> None:
    given_map = np.asfortranarray(labels) if fortran else labels
    found = from_label_map(given_map)
    ids = [i for i in np.unique(labels).tolist() if i]
    assert found.ids.tolist() == ids
    assert found.masks == [coco_encode(labels == i) for i in ids]
    assert found.masks.size == labels.shape
    assert found.masks.areas.tolist() == [int((labels == i).sum()) for i in ids]
    for i, box in zip(ids, found.masks.boxes.tolist(), strict=True):
        rows, cols = np.nonzero(labels == i)
        assert box == [cols.min(), rows.min(), np.ptp(cols) + 1, np.ptp(rows) + 1]
    back = found.masks.flatten(found.ids).label_map
    np.testing.assert_array_equal(back, labels)


def test_views_big_endian_and_large_labels_are_read() -> None:
    labels = np.zeros((40, 50), np.int64)
    labels[3:20, 4:30] = 2**40
    labels[25:, 10:] = 70_000
    expected = [coco_encode(labels == i) for i in (70_000, 2**40)]
    for view in (labels, labels[:, ::-1][:, ::-1], labels.astype(">i8"), np.asfortranarray(labels)):
        assert from_label_map(view).masks == expected
    assert from_label_map(labels[::2, 1::3]).masks == [coco_encode(labels[::2, 1::3] == i) for i in (70_000, 2**40)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[0, -3]]), "negative label -3"),
        (np.array([[0.0, 1.0]]), "holds integers; found float64"),
        (np.zeros((2, 2, 2), int), "two axes"),
    ],
)
def test_arrays_that_are_not_label_maps_are_refused(labels: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(MaskError, match=message):
        from_label_map(labels)


@given(masks, st.integers(0, 9), st.integers(1, 4))
def test_union_intersection_and_iou_are_those_of_pycocotools(mask: np.ndarray[Any, Any], seed: int, n: int) -> None:
    stack, size = several(mask, seed, n), mask.shape
    given_masks = Masks.from_arrays(stack, size)
    counts = list(given_masks)
    assert given_masks.union() == coco.merge(as_coco(counts, size))["counts"]
    assert given_masks.intersection() == coco.merge(as_coco(counts, size), intersect=True)["counts"]
    assert rle.difference(counts[0], counts[-1], size) == coco_encode(stack[0] & ~stack[-1])
    crowd = [k % 2 for k in range(n)]
    a, b = as_coco(counts[::-1], size), as_coco(counts, size)
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(np.asarray(coco.iou(a, b, crowd), float))
    np.testing.assert_array_equal(given_masks[::-1].iou(given_masks, crowd), expected)


def brute_flatten(stack: list[np.ndarray[Any, Any]], policy: str) -> tuple[np.ndarray[Any, Any], int, int]:
    areas = [int(m.sum()) for m in stack]
    order = list(range(len(stack)))
    if policy == "first-wins":
        order.reverse()
    if policy == "smallest-wins":
        order.sort(key=lambda i: -areas[i])
    if policy == "largest-wins":
        order.sort(key=lambda i: areas[i])
    out = np.zeros(stack[0].shape, int)
    for i in order:
        out[stack[i]] = i + 1
    lost = sum(int((m & (out != i + 1)).sum()) for i, m in enumerate(stack))
    gone = sum(bool(m.any()) and not (out == i + 1).any() for i, m in enumerate(stack))
    return out, lost, gone


@given(masks, st.integers(0, 9), st.sampled_from(POLICIES))
def test_flattening_counts_what_brute_force_counts(mask: np.ndarray[Any, Any], seed: int, policy: str) -> None:
    stack = several(mask, seed, 4)
    flat = Masks.from_arrays(stack, mask.shape).flatten(policy=policy)
    out, lost, gone = brute_flatten(stack, policy)
    np.testing.assert_array_equal(flat.label_map, out)
    assert (flat.lost_pixels, flat.lost_instances) == (lost, gone)


@given(masks)
def test_holes_and_parts_are_those_of_scipy(mask: np.ndarray[Any, Any]) -> None:
    one = Masks.from_arrays([mask], mask.shape)
    four, eight = one.count_components()
    assert four[0] == ndimage.label(mask)[1]
    assert eight[0] == ndimage.label(mask, np.ones((3, 3)))[1]
    filled = ndimage.binary_fill_holes(mask)
    assert one.fill_holes()[0] == coco_encode(filled)
    found = one.holes()
    labels, n = ndimage.label(filled & ~mask)
    assert (found.number[0], found.pixels[0]) == (n, int((filled & ~mask).sum()))
    assert found.largest[0] == max(np.bincount(labels.ravel())[1:], default=0)
    for connectivity in (4, 8):
        parts = one.components(connectivity)[0]
        assert len(parts) == (four if connectivity == 4 else eight)[0]
        assert parts.union() == one[0]
        assert parts.areas.sum() == mask.sum()


@given(masks, st.data())
def test_a_window_cut_out_and_put_back(mask: np.ndarray[Any, Any], data: st.DataObject) -> None:
    h, w = mask.shape
    x, y = data.draw(st.integers(0, w - 1)), data.draw(st.integers(0, h - 1))
    bw, bh = data.draw(st.integers(1, w - x)), data.draw(st.integers(1, h - y))
    part = Masks.from_arrays([mask], (h, w)).crop((x, y, bw, bh))
    assert part == [coco_encode(mask[y : y + bh, x : x + bw])]
    back = np.zeros_like(mask)
    back[y : y + bh, x : x + bw] = mask[y : y + bh, x : x + bw]
    assert part.paste((x, y, bw, bh), (h, w)) == [coco_encode(back)]


@given(masks)
def test_the_hull_is_that_of_all_pixel_corners(mask: np.ndarray[Any, Any]) -> None:
    from scipy.spatial import ConvexHull

    area = Masks.from_arrays([mask], mask.shape).hull_areas()[0]
    rows, cols = np.nonzero(mask)
    if not rows.size:
        assert area == 0
        return
    corners = np.concatenate([np.stack([cols + i, rows + j], axis=1) for i in (0, 1) for j in (0, 1)])
    assert area == pytest.approx(ConvexHull(corners).volume)


@given(masks)
def test_uncompressed_counts_and_kaggle_text_come_back(mask: np.ndarray[Any, Any]) -> None:
    counts, size = rle.encode(mask), mask.shape
    plain = rle.to_uncompressed(counts, size)
    assert rle.from_uncompressed(plain, size) == counts
    assert coco.frPyObjects({"size": list(size), "counts": plain}, *size)["counts"] == counts
    text = rle.to_kaggle(counts, size)
    assert rle.from_kaggle(text, size) == counts
    pixels = np.flatnonzero(mask.T.ravel()) + 1
    numbers = list(map(int, text.split()))
    assert [p for s, n in zip(numbers[::2], numbers[1::2], strict=True) for p in range(s, s + n)] == pixels.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 3 5", "pairs of start and length"),
        ("1 x", "hold 'x'"),
        ("1 0", "run of length 0"),
        ("1 -2", "run of length -2"),
        ("0 2", "start at pixel 0"),
        ("10 2 1 2", "not sorted"),
        ("1 3 2 4", "a pixel twice"),
        ("19 3", "reach pixel 21 of an image of 20"),
        ("99999999999999999999 1", "expected whole numbers"),
    ],
)
def test_broken_kaggle_text_says_what_is_broken(text: str, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        rle.from_kaggle(text, (4, 5))


@given(st.binary(max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_any_bytes_are_read_or_refused(counts: bytes, height: int, width: int) -> None:
    one = Masks.of([counts], (height, width))
    if faults := one.faults():
        with pytest.raises(MaskError, match=re.escape(faults[0])):
            one.check()
        return
    area = one.areas[0]
    mask = rle.decode(counts, (height, width))
    assert mask.sum() == area
    assert Masks.from_arrays([mask], (height, width)).areas[0] == area
    one.fill_holes()
    one.components()


def test_a_bad_mask_is_named_with_its_reason() -> None:
    good = rle.encode(np.ones((2, 2), bool))
    for bad, message in ((b"P", "end in the middle"), (b" ", "outside '0' to 'o'"), (b"9", "longer than the image")):
        with pytest.raises(MaskError, match=f"of mask 1 .*{message}"):
            Masks.of([good, bad], (2, 2)).check()
    with pytest.raises(MaskError, match="sides of 0 or more"):
        Masks.of([good], (-1, 2))


@given(label_maps)
def test_components_measures_and_relabelling_are_those_of_brute_force(labels: np.ndarray[Any, Any]) -> None:
    for connectivity, structure in ((4, None), (8, np.ones((3, 3)))):
        found = maps.components(labels, connectivity)
        expected = sum(ndimage.label(labels == i, structure)[1] for i in np.unique(labels) if i)
        assert found.max() == expected
        assert (found > 0).tolist() == (labels > 0).tolist()
        for k in range(1, int(found.max()) + 1):
            values = labels[found == k]
            assert (values == values[0]).all()
            assert ndimage.label(found == k, structure)[1] == 1
        first = [int(np.flatnonzero(found.ravel() == k)[0]) for k in range(1, int(found.max()) + 1)]
        assert first == sorted(first)
    measured = maps.measure(labels)
    for i, centroid in zip(measured.ids.tolist(), measured.centroids_xy, strict=True):
        rows, cols = np.nonzero(labels == i)
        np.testing.assert_allclose(centroid, (cols.mean(), rows.mean()))
    _, inverse = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    np.testing.assert_array_equal(maps.relabel(labels).ravel(), inverse[:-1])


def test_the_codec_vectors_hold(vectors: Path) -> None:
    expected = json.loads((vectors / "expected_codecs.json").read_text())
    for case in expected["kaggle_rle"]:
        assert rle.to_kaggle(rle.from_kaggle(case["rle"], case["size"]), case["size"]) == case["rle"]
    for case in expected["compressed_rle"]:
        counts, size = case["counts_string"].encode(), case["size"]
        assert rle.to_uncompressed(counts, size) == case["uncompressed_counts"]
        assert rle.from_uncompressed(case["uncompressed_counts"], size) == counts
        assert Masks.of([counts], size).areas[0] == case["area"]
        assert Masks.of([counts], size).boxes[0].tolist() == case["bbox"]
    for case in expected["iou"]:
        dt, gt = (Masks.of([c.encode() for c in case[side]], case["size"]) for side in ("dt", "gt"))
        found = dt.iou(gt, case["iscrowd"])
        assert found.tolist() == case["iou_D_by_G"]
