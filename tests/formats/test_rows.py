"""Text written from columns by the core, against msgspec, Python's formatting and the original pixels."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from celltable import plugins
from celltable.errors import MaskError
from celltable.geometry import outline, rle
from celltable.geometry.masks import Masks
from celltable.notation.coco import Numbers
from celltable.notation.polygons import Part, Shapes, draw, outlines
from celltable.notation.rows import COCO_POLYGONS, Layout, masks, rings, rows
from celltable.testing.corpus import corpus

PLAIN = Layout(between=b" ", next_point=b" ")
HUNDREDTHS = st.integers(-(10**9), 10**9).map(lambda n: n / 100)
FLOATS = st.floats() | HUNDREDTHS | st.floats(0, 1) | st.floats(-1e6, 1e6).map(lambda v: round(v, 4))
VALUES = st.none() | st.text() | st.booleans() | st.integers() | st.floats() | st.lists(st.text() | st.floats())
MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def _points(values: list[float]) -> Shapes:
    one = np.arange(2)
    return Shapes(np.array(values), np.array([0, len(values) // 2]), one, one)


@given(st.lists(FLOATS.filter(lambda v: not math.isnan(v)), min_size=1))
def test_floats_are_written_as_msgspec_writes_them(values: list[float]) -> None:
    assert b"[" + rows(len(values), [(b"", np.array(values), b"")]) + b"]" == msgspec.json.encode(values)


@given(st.lists(FLOATS, min_size=2, max_size=2))
def test_brief_numbers_are_python_s_repr_without_a_trailing_zero(values: list[float]) -> None:
    text = rows(1, [(b"", rings(_points(values), PLAIN, numbers="brief"), b"")])
    assert text.decode() == " ".join(repr(v).removesuffix(".0") for v in values)


@given(st.lists(FLOATS.filter(math.isfinite), min_size=2, max_size=2), st.integers(1, 5000), st.integers(1, 5000))
def test_fractions_are_rounded_as_python_rounds_them(values: list[float], width: int, height: int) -> None:
    column = rings(_points(values), PLAIN, numbers="fraction", unit=(width, height))
    wanted = [f"{v / unit:.9f}".rstrip("0").rstrip(".") for v, unit in zip(values, (width, height), strict=True)]
    assert rows(1, [(b"", column, b"")]).decode() == " ".join(wanted)


@given(st.lists(VALUES, min_size=1))
def test_values_are_the_json_that_msgspec_makes_and_none_is_left_out(values: list[Any]) -> None:
    assume(all(-(2**63) <= v < 2**64 for v in values if type(v) is int))  # msgspec refuses the others
    text = rows(len(values), [b"{", (b'"v":', values, b""), b"}"])
    assert b"[" + text + b"]" == msgspec.json.encode([{} if v is None else {"v": v} for v in values])


def test_columns_of_numbers_with_nan_or_of_several_numbers_a_row() -> None:
    boxes, scores = np.array([[1, 2], [3, 4]]), np.array([np.nan, 0.25])
    text = rows(2, [(b'{"b":', boxes, b""), (b',"s":', scores, b""), b"}"], b";")
    assert text == b'{"b":[1,2]};{"b":[3,4],"s":0.25}'


@pytest.mark.parametrize(
    ("column", "said"),
    [([1], "1 values for 2 rows"), (np.zeros(2, np.float32), "float64"), ([{}, {}], "list of these"), ({1}, "list")],
)
def test_a_column_of_another_length_or_type_is_refused(column: Any, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        rows(2, [(b"", column, b"")])


@pytest.mark.parametrize("wrong", ["ring_first", "part_first", "cell_first"])
@pytest.mark.parametrize("offsets", [[0, 9], [1, 1], [0], []])
def test_offsets_that_lead_out_of_the_arrays_are_refused(wrong: str, offsets: list[int]) -> None:
    good = {"ring_first": np.array([0, 3]), "part_first": np.arange(2), "cell_first": np.arange(2)}
    shapes = Shapes(np.zeros(6), **{**good, wrong: np.array(offsets, np.int64)})
    with pytest.raises(ValueError, match="must ascend"):
        rings(shapes, COCO_POLYGONS)


@given(MASKS)
def test_run_lengths_compressed_and_as_numbers(mask: NDArray[np.bool_]) -> None:
    counts, (h, w) = rle.encode(mask), mask.shape
    both = Masks.of([counts, counts], mask.shape)
    for uncompressed, wanted in ((False, counts.decode()), (True, rle.to_uncompressed(counts))):
        text = rows(2, [b"0", (b",", masks(both, np.array([True, False]), uncompressed), b"")])
        assert msgspec.json.decode(b"[" + text + b"]") == [0, {"size": [h, w], "counts": wanted}, 0]


def test_run_lengths_that_end_inside_a_number_are_refused() -> None:
    with pytest.raises(MaskError, match="end in the middle"):
        rows(1, [(b"", masks(Masks.of([b"o"], (4, 4)), np.ones(1, bool), uncompressed=True), b"")])


def _parts(shapes: Shapes, cell: int) -> list[Part]:
    points = shapes.xy.reshape(-1, 2).tolist()
    bounds = shapes.ring_first.tolist()
    flat = [[float(v) for p in points[a:b] for v in p] for a, b in itertools.pairwise(bounds)]
    found = []
    for p in range(shapes.cell_first[cell], shapes.cell_first[cell + 1]):
        members = flat[shapes.part_first[p] : shapes.part_first[p + 1]]
        found.append(Part(members[0], tuple(members[1:])))
    return found


@given(st.lists(arrays.arrays(bool, (9, 11)), min_size=1, max_size=4), st.booleans(), st.data())
def test_parts_with_their_holes_draw_the_masks_again_the_largest_first(
    drawn: list[NDArray[np.bool_]], simple: bool, data: st.DataObject
) -> None:
    counts = Masks.from_arrays(drawn, (9, 11))
    where = np.array(data.draw(st.lists(st.booleans(), min_size=len(drawn), max_size=len(drawn))))
    shapes = outlines(counts, where, simple=simple)
    for k, mask in enumerate(drawn):
        parts = _parts(shapes, k)
        if not where[k] or not mask.any():
            assert not parts
            continue
        assert draw(parts, (9, 11)) == counts[k]
        for ring in (r for p in parts for r in (p.outer, *p.holes)):
            points = list(zip(ring[::2], ring[1::2], strict=True))
            assert not simple or len(set(points)) == len(points)
        sizes = [int(Masks.of([draw([p], (9, 11))], (9, 11)).areas[0]) for p in parts]
        assert sizes == sorted(sizes, reverse=True)
        assert shapes.holed[k] == any(p.holes for p in parts)
        assert shapes.first_holed[k] == bool(parts[0].holes)


@given(MASKS)
def test_parts_are_the_groups_of_the_rings(mask: NDArray[np.bool_]) -> None:
    size = (int(mask.shape[0]), int(mask.shape[1]))
    shapes = outlines(Masks.from_arrays([mask], size))
    grouped = outline.grouped(outline.polygons(Masks.from_arrays([mask], size))[0])
    wanted = {
        (tuple(o.points_xy.ravel().tolist()), tuple(tuple(h.points_xy.ravel().tolist()) for h in holes))
        for o, holes in grouped
    }
    assert {(tuple(p.outer), tuple(map(tuple, p.holes))) for p in _parts(shapes, 0)} == wanted


@given(MASKS, st.sampled_from([4, 8]))
def test_the_edges_of_the_rings_are_the_borders_of_the_pixels(mask: NDArray[np.bool_], connectivity: int) -> None:
    size = (int(mask.shape[0]), int(mask.shape[1]))
    padded = np.pad(mask, 1)
    walls = {(x, y) for y, x in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]).tolist()}
    seen = []
    for ring in outline.polygons(Masks.from_arrays([mask], size), connectivity)[0]:
        ends = np.roll(ring.points_xy, -1, axis=0)
        for (x0, y0), (x1, y1) in zip(ring.points_xy.tolist(), ends.tolist(), strict=True):
            assert (x0 == x1) != (y0 == y1)  # corners only, along rows and columns in turn
            seen += [(x0, y) for y in range(min(y0, y1), max(y0, y1))] if x0 == x1 else []
    assert len(seen) == len(set(seen))
    assert set(seen) == walls


@given(MASKS, st.data())
def test_only_some_cells_and_only_the_largest_part(mask: NDArray[np.bool_], data: st.DataObject) -> None:
    size = (int(mask.shape[0]), int(mask.shape[1]))
    counts = Masks.from_arrays([mask, ~mask, np.ones_like(mask)], size)
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=3, max_size=3)))
    shapes = outlines(counts)
    some, large = shapes.only(chosen), shapes.largest()
    for k in range(3):
        assert _parts(some, k) == (_parts(shapes, k) if chosen[k] else [])
        assert _parts(large, k) == [Part(p.outer) for p in _parts(shapes, k)[:1]]


@given(st.lists(st.none() | st.lists(st.none() | st.sampled_from(["0", "1", "4", "5", "x", "09", "12"]), max_size=5)))
def test_many_numbers_at_once_are_those_taken_one_by_one(groups: list[list[str | None] | None]) -> None:
    many, single = Numbers(), Numbers()
    for group in groups:
        texts: list[str | None] = [None] * 3 if group is None else group
        assert many.take_many(group, len(texts)) == [single.take(t) for t in texts]


@pytest.mark.parametrize("name", ["coco", "geojson", "labelme"])
def test_the_json_of_every_file_is_as_msgspec_writes_what_it_says(name: str, tmp_path: Path) -> None:
    form = plugins.load("formats", name)
    assert form.write is not None
    form.write(iter(corpus()), tmp_path / "out.json" if form.extensions else tmp_path / "out")
    files = [p for p in sorted(tmp_path.rglob("*")) if p.suffix in (".json", ".geojson")]
    assert files
    for path in files:
        data = path.read_bytes()
        again = msgspec.json.encode(msgspec.json.decode(data))
        laid_out = msgspec.json.format(again, indent=1) if name == "labelme" else again
        assert laid_out == (data.rstrip(b"\n") if name == "labelme" else data.replace(b"\n", b""))
