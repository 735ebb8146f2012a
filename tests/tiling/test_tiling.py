"""Tiles against plain array slicing, and stitching against the truth that the tiles were cut from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from celltable import tiling
from celltable.cells import Instances
from celltable.errors import CelltableError
from celltable.geometry import polygon
from celltable.geometry.masks import Masks
from celltable.tiling import Tile

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
few = settings(max_examples=40, deadline=None)


def blobs(size: tuple[int, int], seed: int, n: int, reach: int) -> Instances:
    """Draw rectangles and crosses with sides of at most `reach` px, which may overlap."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(n):
        h, w = (int(rng.integers(1, min(reach, s) + 1)) for s in size)
        top, left = int(rng.integers(0, size[0] - h + 1)), int(rng.integers(0, size[1] - w + 1))
        mask = np.zeros(size, bool)
        mask[top : top + h, left : left + w] = rng.random((h, w)) < 0.7
        mask[top + h // 2, left + w // 2] = True
        masks.append(mask)
    return Instances.from_masks(masks, size)


def connected(size: tuple[int, int], seed: int) -> NDArray[Any]:
    """Generate a label map of connected cells of any size: components of smoothed noise."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(size), 2)
    return np.asarray(ndimage.label(noise > np.median(noise), np.ones((3, 3)))[0], np.int32)


def pieces(cells: Instances, size: int, overlap: int) -> list[tuple[Tile, Instances]]:
    return [(t, tiling.cut(cells, t)) for t in tiling.grid(cells.size, size, overlap)]


def as_set(cells: Instances) -> list[bytes]:
    return sorted(cells.rle)


@few
@given(sizes, st.integers(1, 70), st.integers(0, 30))
def test_a_grid_covers_every_pixel_with_tiles_of_one_size_and_the_requested_overlap(
    size: tuple[int, int], tile: int, overlap: int
) -> None:
    overlap = min(overlap, tile - 1)
    tiles = tiling.grid(size, tile, overlap)
    seen = np.zeros(size, int)
    for t in tiles:
        assert t.size == (min(tile, size[0]), min(tile, size[1]))
        assert 0 <= t.row <= size[0] - t.height
        assert 0 <= t.col <= size[1] - t.width
        seen[t.row : t.row + t.height, t.col : t.col + t.width] += 1
    assert seen.min() >= 1
    assert tiles == sorted(set(tiles))
    for axis, starts in enumerate((sorted({t.row for t in tiles}), sorted({t.col for t in tiles}))):
        steps = np.diff(starts)
        assert ((steps >= 1) & (steps <= tile - overlap)).all()
        assert len(starts) == max(1, -(-(size[axis] - overlap) // (tile - overlap))), "no tile more than needed"


@few
@given(sizes, st.integers(0, 10_000), st.data())
def test_a_cut_equals_slicing_the_masks(size: tuple[int, int], seed: int, data: st.DataObject) -> None:
    cells = blobs(size, seed, 6, 20)
    height, width = data.draw(st.integers(1, size[0])), data.draw(st.integers(1, size[1]))
    tile = Tile(data.draw(st.integers(0, size[0] - height)), data.draw(st.integers(0, size[1] - width)), height, width)
    least = data.draw(st.integers(1, 8))
    window = (slice(tile.row, tile.row + height), slice(tile.col, tile.col + width))
    expected = {k + 1: m[window] for k, m in enumerate(cells.masks()) if m[window].sum() >= least}
    part = tiling.cut(cells, tile, min_pixels=least)
    assert part.ids.tolist() == list(expected)
    assert all((a == b).all() for a, b in zip(part.masks(), expected.values(), strict=True))
    assert part.area.tolist() == [int(m.sum()) for m in expected.values()]
    assert (part.bbox == Masks.of(list(part.rle), tile.size).boxes).all()
    whole = {k + 1: int(m.sum()) for k, m in enumerate(cells.masks())}
    assert part.column("truncated") == [int(m.sum()) < whole[k] for k, m in expected.items()]
    back = tiling.place(part, tile, size)
    for mask, small in zip(back.masks(), expected.values(), strict=True):
        assert (mask[window] == small).all()
        assert mask.sum() == small.sum()
    assert (back.bbox == Masks.of(list(back.rle), size).boxes).all()


@few
@given(sizes, st.integers(0, 10_000), st.integers(1, 12), st.integers(4, 25))
def test_tiles_of_a_known_truth_give_it_back_where_the_overlap_exceeds_the_largest_cell(
    size: tuple[int, int], seed: int, reach: int, step: int
) -> None:
    cells = blobs(size, seed, 8, reach)
    stitched = tiling.stitch(pieces(cells, reach + 1 + step, reach + 1), size)
    assert as_set(stitched) == as_set(cells)
    assert not any(stitched.column("truncated"))


@few
@given(sizes, st.integers(0, 10_000), st.integers(5, 25), st.data())
def test_connected_cells_of_any_size_come_back_with_any_overlap(
    size: tuple[int, int], seed: int, tile: int, data: st.DataObject
) -> None:
    truth = Instances.from_label_map(connected(size, seed))
    overlap = data.draw(st.integers(1, tile - 3))
    assert as_set(tiling.stitch(pieces(truth, tile, overlap), size)) == as_set(truth)


@few
@given(sizes, st.integers(0, 10_000), st.integers(5, 25), st.data())
def test_label_maps_numbered_tile_by_tile_are_joined_as_the_components_of_the_whole(
    size: tuple[int, int], seed: int, tile: int, data: st.DataObject
) -> None:
    whole = connected(size, seed)
    overlap = data.draw(st.integers(1, tile - 3))
    tiles = []
    for t in tiling.grid(size, tile, overlap):
        window = whole[t.row : t.row + t.height, t.col : t.col + t.width]
        ids = np.unique(window[window > 0])
        renumbered = np.random.default_rng(seed).permutation(len(ids)) + 1
        table = np.zeros(whole.max() + 1, np.int32)
        table[ids] = renumbered
        tiles.append((t, table[window]))
    made = tiling.stitch_label_maps(tiles, size)
    pairs = {(int(a), int(b)) for a, b in zip(whole.ravel(), made.ravel(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert ((made > 0) == (whole > 0)).all()


def test_a_small_cell_on_a_large_one_stays_a_separate_cell() -> None:
    large, small = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
    large[4:16, 12:28], small[7:12, 17:23] = True, True
    truth = Instances.from_masks([large, small], (20, 40))
    for overlap in (8, 18):
        assert as_set(tiling.stitch(pieces(truth, 25, overlap), truth.size)) == as_set(truth)


def test_a_nucleus_is_never_joined_to_the_cell_around_it_and_parents_follow_the_new_numbers() -> None:
    cell, nucleus = np.zeros((20, 60), bool), np.zeros((20, 60), bool)
    cell[2:18, 22:40], nucleus[3:17, 24:39] = True, True
    truth = Instances.from_masks(
        [nucleus, cell], (20, 60), kind=["nucleus", "cell"], parent=[7, None], instance_id=[3, 7]
    )
    only_cell = [(t, part.take(np.array([k == "cell" for k in part.column("kind")], bool)))
                 if t.col == 0 else (t, part) for t, part in pieces(truth, 40, 20)]  # fmt: skip
    found = tiling.stitch(only_cell, truth.size)
    kinds = dict(zip(found.column("kind"), zip(found.ids.tolist(), found.rle, strict=True), strict=True))
    assert (kinds["nucleus"][1], kinds["cell"][1]) == (truth.rle[0], truth.rle[1])
    parents = dict(zip(found.column("kind"), found.column("parent"), strict=True))
    assert parents == {"nucleus": kinds["cell"][0], "cell": None}


def test_a_nucleus_of_one_tile_and_a_cell_of_the_next_stay_two() -> None:
    shape = np.zeros((10, 30), bool)
    shape[2:8, 12:18] = True
    tiles = [
        (t, tiling.cut(Instances.from_masks([shape], (10, 30), kind=kind), t))
        for t, kind in zip((Tile(0, 0, 10, 20), Tile(0, 10, 10, 20)), ("nucleus", "cell"), strict=True)
    ]
    assert tiling.stitch(tiles, (10, 30)).column("kind") == ["nucleus", "cell"]


def test_a_small_cell_on_a_large_one_that_only_one_tile_has_found_is_kept() -> None:
    large, small = np.zeros((20, 40), bool), np.zeros((20, 40), bool)
    large[4:16, 13:27], small[7:12, 17:23] = True, True
    truth = Instances.from_masks([large, small], (20, 40))
    (first, both), (second, seen) = pieces(truth, 30, 20)[:1] + pieces(truth, 30, 20)[-1:]
    tiles = [(first, both), (second, seen.take([0]))]
    assert as_set(tiling.stitch(tiles, truth.size)) == as_set(truth)


def test_of_several_whole_copies_the_best_score_is_kept_and_fragments_vanish() -> None:
    def box(left: int, right: int, width: int) -> NDArray[Any]:
        mask = np.zeros((10, width), bool)
        mask[3:7, left:right] = True
        return mask

    a = Instances.from_masks([box(10, 16, 20)], (10, 20), score=[0.6], class_name=["x"])
    b = Instances.from_masks([box(0, 5, 20)], (10, 20), score=[0.9], class_name=["y"])  # the same cell, cut, off by one
    c = Instances.from_masks([box(0, 5, 20)], (10, 20), score=[0.2], class_name=["z"])
    tiles = [(Tile(0, 0, 10, 20), a), (Tile(0, 11, 10, 20), b), (Tile(0, 11 + 11, 10, 20), c)]
    found = tiling.stitch(tiles, (10, 42))
    assert found.column("score") == [0.6, 0.2]
    assert found.column("class_name") == ["x", "z"]
    assert found.column("truncated") == [False, True]
    assert (found.masks()[0] == np.pad(box(10, 16, 20), ((0, 0), (0, 22)))).all()


def test_what_was_published_moves_with_a_whole_cell_and_is_dropped_from_a_cut_one() -> None:
    points = [[12.25, 3.5, 17.75, 3.5, 17.75, 8.0], [25.0, 3.0, 35.0, 3.0, 35.0, 8.0]]
    size = (20, 60)
    truth = Instances.from_rle(
        [polygon.to_rle([p], size) for p in points], size, polygon=[polygon.pack([p]) for p in points],
        published_area=[12.5, 25.0], published_bbox=[[12.25, 3.5, 5.5, 4.5], [25.0, 3.0, 10.0, 5.0]],
    )  # fmt: skip
    tile = Tile(2, 10, 18, 20)
    part = tiling.cut(truth, tile)
    kept = polygon.unpack(part.column("polygon")[0])[0]
    assert kept.ravel().tolist() == [2.25, 1.5, 7.75, 1.5, 7.75, 6.0]
    assert part.column("published_bbox") == [[2.25, 1.5, 5.5, 4.5], None]
    assert (part.column("polygon")[1], part.column("published_area")) == (None, [12.5, None])
    back = tiling.place(part, tile, size)
    assert polygon.unpack(back.column("polygon")[0])[0].ravel().tolist() == points[0]


@pytest.mark.parametrize(
    ("tiles", "words"),
    [
        ([(Tile(0, 8, 9, 9), (9, 9)), (Tile(0, 0, 9, 9), (9, 9))], "reading order"),
        ([(Tile(0, 0, 9, 9), (9, 9)), (Tile(0, 0, 9, 9), (9, 9))], "each once"),
        ([(Tile(0, 0, 9, 9), (9, 8))], "9 × 8 px image"),
        ([(Tile(0, 20, 9, 9), (9, 9))], "is not inside an image of 9 × 20 px"),
    ],
)
def test_tiles_that_do_not_fit_are_refused(tiles: list[tuple[Tile, tuple[int, int]]], words: str) -> None:
    with pytest.raises(CelltableError, match=words):
        tiling.stitch([(t, Instances.empty(size)) for t, size in tiles], (9, 20))


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (8, 8), (8, -1), ((8, 4), 4)])
def test_an_impossible_grid_is_refused(tile: Any, overlap: int) -> None:
    with pytest.raises(CelltableError, match="cannot overlap"):
        tiling.grid((20, 20), tile, overlap)


def test_a_match_out_of_range_and_a_label_map_too_small_are_refused() -> None:
    with pytest.raises(CelltableError, match="match is 1"):
        tiling.stitch([], (4, 4), match=1.0)
    cells = Instances.from_masks([np.ones((2, 2))], (2, 2), instance_id=[300])
    with pytest.raises(CelltableError, match="uint8 cannot hold the label 300"):
        tiling.paint(cells, np.zeros((2, 2), np.uint8))
    with pytest.raises(CelltableError, match="3 × 2 px, the cells 2 × 2"):
        tiling.paint(cells, np.zeros((3, 2), np.int32))


def test_no_tiles_and_empty_tiles_give_no_cells() -> None:
    assert len(tiling.stitch([], (30, 30))) == 0
    empty = [(t, Instances.empty(t.size)) for t in tiling.grid((30, 30), 16, 4)]
    assert len(tiling.stitch(empty, (30, 30))) == 0


def test_painting_strip_by_strip_equals_painting_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = blobs((57, 40), 5, 30, 25)
    monkeypatch.setattr("celltable.tiling._tiles.STRIP_PIXELS", 7 * 40)
    out = np.full((57, 40), 9, np.uint16)
    tiling.paint(cells, out)
    assert (out == cells.label_map().label_map).all()
