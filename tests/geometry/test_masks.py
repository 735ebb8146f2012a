"""A buffer of run lengths behaves like the list of its masks: slices, picks, joins, Arrow, pickles, broken ones."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco

from celltable.errors import MaskError
from celltable.geometry.masks import Masks, RunLengths

Stack = NDArray[np.bool_]
SIZE = (5, 7)
stacks = hnp.arrays(bool, st.tuples(st.integers(0, 6), st.just(SIZE[0]), st.just(SIZE[1])))
bounds = st.one_of(st.none(), st.integers(-8, 8))


def texts(stack: Stack) -> list[bytes]:
    return [bytes(coco.encode(np.asfortranarray(m.astype(np.uint8)))["counts"]) for m in stack]


def described(masks: Masks) -> tuple[list[bytes], list[int], list[Any], tuple[int, int]]:
    return list(masks), masks.areas.tolist(), masks.boxes.tolist(), masks.size


def expected(counts: list[bytes]) -> tuple[list[bytes], list[int], list[Any], tuple[int, int]]:
    """Compute the same with pycocotools."""
    encoded = [{"size": list(SIZE), "counts": c} for c in counts]
    return counts, [int(coco.area(r)) for r in encoded], [coco.toBbox(r).tolist() for r in encoded], SIZE


@given(stacks, bounds, bounds, st.sampled_from([None, 1, 2, -1, -3]), st.booleans())
def test_slices_are_those_of_a_list(
    stack: Stack, start: int | None, stop: int | None, step: int | None, measured: bool
) -> None:
    counts, masks = texts(stack), Masks.of(texts(stack), SIZE)
    if measured:
        masks.check()
    part = masks[start:stop:step]
    assert described(part) == expected(counts[start:stop:step])
    assert len(part) == len(counts[start:stop:step])
    assert [part[k] for k in range(-len(part), len(part))] == [*part, *part]
    if step in (None, 1):
        assert part.data is masks.data  # a view
        assert described(part[1:]) == expected(counts[start:stop:step][1:])


@given(stacks, st.data(), st.booleans())
def test_picks_are_those_of_a_list(stack: Stack, data: st.DataObject, measured: bool) -> None:
    counts, masks = texts(stack), Masks.of(texts(stack), SIZE)
    if measured:
        masks.check()
    where = data.draw(st.lists(st.integers(0, len(counts) - 1))) if counts else []
    assert described(masks.take(where)) == expected([counts[k] for k in where])
    assert described(masks[1:].take(np.arange(len(masks[1:]))[::-1])) == expected(counts[1:][::-1])
    keep = data.draw(hnp.arrays(bool, len(counts)))
    assert described(masks.take(keep)) == expected([c for c, kept in zip(counts, keep.tolist(), strict=True) if kept])


@given(st.lists(stacks, min_size=1, max_size=4))
def test_joining_is_adding_lists(parts: list[Stack]) -> None:
    whole = Masks.concat([Masks.of(texts(p), SIZE)[:: 1 if k % 2 else -1] for k, p in enumerate(parts)])
    assert described(whole) == expected([c for k, p in enumerate(parts) for c in texts(p)[:: 1 if k % 2 else -1]])
    known = [Masks.of(texts(p), SIZE) for p in parts]
    for masks in known:
        masks.check()
    assert described(Masks.concat(known)) == expected([c for p in parts for c in texts(p)])


@given(stacks, bounds, bounds)
def test_arrow_and_pickle_hold_the_same_bytes_and_no_more(stack: Stack, start: int | None, stop: int | None) -> None:
    counts, part = texts(stack)[start:stop], Masks.of(texts(stack), SIZE)[start:stop]
    array = part.to_arrow()
    array.validate(full=True)
    assert array.to_pylist() == counts
    assert array.buffers()[2].size == sum(map(len, counts))
    assert described(pickle.loads(pickle.dumps(part))) == expected(counts)
    assert len(pickle.dumps(part)) < 600 + sum(map(len, counts)) + 8 * len(part)
    padded = pa.array([b"before", *counts, b"after"], pa.binary())
    back = RunLengths.from_arrow(padded[1:-1])
    assert list(back) == counts
    assert back.data.ctypes.data == np.frombuffer(padded.buffers()[2], np.uint8).ctypes.data  # not copied


@given(hnp.arrays(bool, st.tuples(st.integers(1, 6), st.just(SIZE[0]), st.just(SIZE[1]))), st.data())
def test_broken_masks_are_named_among_good_ones(stack: Stack, data: st.DataObject) -> None:
    counts, bad = (
        texts(stack),
        {b"P": "end in the middle", b" ": "outside '0' to 'o'", b"P1P1": "longer than the image"},
    )
    where = data.draw(st.dictionaries(st.integers(0, len(counts) - 1), st.sampled_from(sorted(bad))))
    masks = Masks.of([where.get(k, c) for k, c in enumerate(counts)], SIZE)
    faults = masks.faults()
    assert sorted(faults) == sorted(where)
    for k, reason in faults.items():
        assert bad[where[k]] in reason
    if where:
        with pytest.raises(MaskError, match=f"mask {min(where)} "):
            masks.check()


@given(stacks, stacks)
def test_two_sides_are_equal_where_their_masks_are(a: Stack, b: Stack) -> None:
    assert (Masks.of(texts(a), SIZE) == Masks.of(texts(b), SIZE)) == (texts(a) == texts(b))
    assert Masks.of(texts(a), SIZE) == texts(a)


def test_masks_of_different_sizes_are_not_put_together() -> None:
    small, large = Masks.of([b"4"], (2, 2)), Masks.of([b"9"], (3, 3))
    with pytest.raises(MaskError, match="expected one size"):
        Masks.concat([small, large])
    with pytest.raises(MaskError, match=r"2 × 2 px beside masks of 3 × 3 px"):
        small.iou(large)
    with pytest.raises(MaskError, match="1 of 2 masks are null"):
        RunLengths.from_arrow(pa.array([b"4", None], pa.binary()))
    with pytest.raises(IndexError):
        small[1]


@pytest.mark.parametrize("offsets", [[], [0, 2, 1], [-1, 1], [0, 9]])
def test_offsets_that_leave_the_buffer_are_refused(offsets: list[int]) -> None:
    masks = Masks(np.frombuffer(b"04", np.uint8), np.array(offsets, np.int64), (2, 2))
    with pytest.raises(MaskError, match="offset"):
        masks.check()
    with pytest.raises(MaskError, match="offset"):
        masks.union()


def test_positions_that_no_mask_has_are_refused() -> None:
    for where in ([2], [-1]):
        with pytest.raises(IndexError, match="of 2 masks"):
            Masks.of([b"4", b"4"], (2, 2)).take(where)
