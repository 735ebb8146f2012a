"""Stacks of label maps, as in PanNuke, against NumPy, in every number type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from celltable.errors import MaskError
from celltable.geometry import label_map

whole = [np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32, np.int64, np.float32, np.float64]


def by_numpy(stack: np.ndarray[Any, Any], n: int) -> tuple[np.ndarray[Any, Any], list[int], int, int]:
    """Compute planes, strange values, shared and unclaimed pixels by brute force."""
    looked_at = stack[..., : n + 1].astype(np.float64)
    good = (looked_at >= 0) & (looked_at == np.floor(looked_at)) & (looked_at < 2**31)
    planes = np.where(good, looked_at, 0)
    labelled = (planes[..., :n] > 0).sum(axis=2)
    free = labelled == 0
    if stack.shape[2] > n:
        free &= planes[..., n] == 0
    strange = [int((~good[..., k]).sum()) if k < stack.shape[2] else 0 for k in range(n + 1)]
    return planes[..., :n].transpose(2, 0, 1), strange, int((labelled > 1).sum()), int(free.sum())


@given(
    st.sampled_from(whole).flatmap(
        lambda kind: hnp.arrays(kind, st.tuples(st.integers(1, 5), st.integers(1, 90), st.integers(1, 7)),
                                elements=st.integers(0, 2), fill=st.just(0))
    ),
    st.data(),
)  # fmt: skip
def test_cells_of_layers_are_numbered_painted_and_kept_apart(stack: np.ndarray[Any, Any], data: st.DataObject) -> None:
    n = data.draw(st.integers(0, stack.shape[2]))
    if stack.dtype.kind == "f" and data.draw(st.booleans()):
        at = tuple(data.draw(st.integers(0, k - 1)) for k in stack.shape)
        stack[at] = data.draw(st.sampled_from([np.nan, -1, 0.5, np.inf, 2.0**31, -0.0]))
    planes, strange, shared, unclaimed = by_numpy(stack, n)
    keys = [(k, v) for k in range(n) for v in np.unique(planes[k]).tolist() if v]
    numbered = np.zeros(planes.shape, np.int32)
    for number, (k, v) in enumerate(keys, 1):
        numbered[k][planes[k] == v] = number
    for given_stack in (stack, np.asfortranarray(stack)):
        found = label_map.layers(given_stack, n)
        assert list(zip(found.layer.tolist(), found.value.tolist(), strict=True)) == keys
        assert (found.strange.tolist(), found.shared, found.unclaimed) == (strange, shared, unclaimed)
        np.testing.assert_array_equal(found.flat, numbered.max(axis=0, initial=0))
        np.testing.assert_array_equal(found.planes, numbered if shared else numbered[:0])


def test_more_layers_than_there_are_is_an_error() -> None:
    with pytest.raises(MaskError, match="more layers"):
        label_map.layers(np.zeros((2, 2, 3)), 4)
