"""Polygons and outlines: drawn as pycocotools draws them, packed losslessly, traced so that the mask comes back."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco
from scipy import ndimage

from celltable.errors import MaskError
from celltable.geometry import outline, polygon, rle
from celltable.geometry.masks import Masks

coordinate = st.one_of(
    st.floats(-6, 40, allow_nan=False), st.integers(-6, 40).map(float), st.integers(-60, 400).map(lambda v: v / 10)
)
part = st.lists(coordinate, min_size=6, max_size=24).map(lambda v: v[: len(v) // 2 * 2])


@settings(max_examples=400)
@given(st.lists(part, min_size=1, max_size=4), st.integers(1, 30), st.integers(1, 34))
def test_polygons_are_drawn_bit_equal_to_pycocotools(parts: list[list[float]], height: int, width: int) -> None:
    expected = coco.merge(coco.frPyObjects(parts, height, width))["counts"]
    assert polygon.to_rle(parts, (height, width)) == expected
    assert polygon.to_masks([parts, parts], (height, width)) == [expected, expected]


@given(st.integers(3, 120), st.integers(1, 6), st.integers(0, 2**31))
def test_polygons_with_many_turns_in_few_columns_are_bit_equal_to_pycocotools(n: int, width: int, seed: int) -> None:
    xy = np.random.default_rng(seed).uniform((-1, 0), (width + 1, 200), (n, 2)).ravel().tolist()
    assert polygon.to_rle([xy], (200, width)) == coco.merge(coco.frPyObjects([xy], 200, width))["counts"]


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(0, 30)))
def test_boxes_are_drawn_bit_equal_to_pycocotools(boxes: np.ndarray[Any, Any]) -> None:
    expected = [r["counts"] for r in coco.frPyObjects(boxes, 25, 31)]
    assert polygon.boxes_to_masks(boxes, (25, 31)) == expected


def test_the_polygon_vectors_hold(vectors: Path) -> None:
    expected = json.loads((vectors / "expected_codecs.json").read_text())
    drawn = 0
    for case in expected["polygons"]:
        parts = case.get("multi") or [case["polygon_xy"]]
        if case.get("error"):
            continue
        assert polygon.to_rle(parts, case["size"]) == case["rle"].encode()
        drawn += 1
    assert drawn >= 15
    for case in expected["boxes"]:
        assert polygon.boxes_to_masks([case["bbox_xywh"]], case["size"]) == [case["rle"].encode()]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([[1.0, 2.0, 3.0, 4.0]], "2 points; expected three or more .*box"),
        ([[1.0, 2.0]], "1 points"),
        ([[1.0, 2.0, 3.0, 4.0, 5.0]], "pairs x, y"),
        ([[0.0, 0.0, float("nan"), 4.0, 5.0, 5.0]], "not a number"),
        ([[0.0, 0.0, 1e300, 4.0, 5.0, 5.0]], "beyond any image"),
    ],
)
def test_lists_that_are_not_polygons_are_refused(parts: list[list[float]], message: str) -> None:
    with pytest.raises(MaskError, match=message):
        polygon.to_rle(parts, (10, 10))


@given(
    st.lists(
        st.lists(
            st.lists(st.floats(allow_nan=False), min_size=2, max_size=8).map(lambda v: v[: len(v) // 2 * 2]), max_size=3
        ),
        max_size=4,
    )
)
def test_packed_polygons_come_back_exactly(cells: list[list[list[float]]]) -> None:
    back = polygon.unpack_many(polygon.pack_many(cells))
    assert len(back) == len(cells)
    for cell, found in zip(cells, back, strict=True):
        assert [p.ravel().tobytes() for p in found] == [np.asarray(p, float).tobytes() for p in cell]


@given(st.lists(st.integers(-10_000, 2_000_000), min_size=6, max_size=60).map(lambda v: v[: len(v) // 2 * 2]))
def test_hundredths_are_packed_small_and_exact(values: list[int]) -> None:
    numbers = [float(f"{v // 100}.{v % 100:02d}") for v in values]
    packed = polygon.pack([numbers])
    assert polygon.unpack(packed)[0].ravel().tolist() == numbers
    assert len(packed) < 8 * len(numbers)


@given(st.binary(max_size=40))
def test_any_bytes_are_unpacked_or_refused(packed: bytes) -> None:
    with suppress(MaskError):
        polygon.unpack(packed)


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)), st.sampled_from([4, 8]))
def test_outlines_drawn_again_are_the_mask(mask: np.ndarray[Any, Any], connectivity: int) -> None:
    size = mask.shape
    rings = outline.polygons(Masks.from_arrays([mask], size), connectivity)[0]
    drawn = np.zeros(size, bool)
    for ring in rings:
        drawn ^= rle.decode(polygon.to_rle([ring.points_xy], size), size)
    np.testing.assert_array_equal(drawn, mask)
    structure = np.ones((3, 3)) if connectivity == 8 else None
    assert sum(not r.hole for r in rings) == ndimage.label(mask, structure)[1]
    assert sum(r.area * (-1 if r.hole else 1) for r in rings) == mask.sum()
    groups = outline.grouped(rings)
    assert sum(1 + len(holes) for _, holes in groups) == len(rings)
    union = np.zeros(size, bool)
    for outer, holes in groups:
        cell = rle.decode(polygon.to_rle([outer.points_xy], size), size)
        for hole in holes:
            cell &= ~rle.decode(polygon.to_rle([hole.points_xy], size), size)
        union |= cell
    np.testing.assert_array_equal(union, mask)


def test_touching_cells_share_one_outline_that_belongs_to_neither() -> None:
    line = np.zeros((9, 13), bool)
    line[[2, 6], 2:11] = True
    line[2:7, [2, 6, 10]] = True
    filled = outline.fill_outlines(line)
    assert filled.max() == 2
    assert (filled[3:6, 3:6] == 1).all()
    assert (filled[3:6, 7:10] == 2).all()
    assert not filled[line].any()
    assert outline.fill_outlines(line, drop="largest").max() == 2
    assert outline.fill_outlines(line, min_area=10).max() == 0
