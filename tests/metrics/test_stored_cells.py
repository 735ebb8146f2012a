"""Sides cut from the columns of a row group are those made of the rows of their image alone."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from celltable.cells import Instances
from celltable.scoring import Side, StoredCells

SIZE = (6, 7)


def image(n: int, seed: int, **columns: Any) -> pa.Table:
    rng = np.random.default_rng(seed)
    masks = [rng.random(SIZE) < 0.4 for _ in range(n)]
    return Instances.from_masks(masks, SIZE, **columns).to_arrow(f"i{seed}")


TABLES = [
    image(2, 0, class_name=["b", None], score=[0.5, None], source_id=["7", "8"]),
    image(0, 1),
    image(1, 2),
    image(
        3, 3, crowd=[False, True, False], published_area=[1.5, None, 2.0], published_bbox=[[1, 2, 3, 4.5], None, None]
    ),
    image(2, 4, class_name="a", ignore=True, class_names=[["a", "c"], None], class_scores=[[0.5, 0.25], None]),
]


@pytest.mark.parametrize("class_names", [(), ("a", "b", "z")])
def test_stretches_of_a_group_are_the_sides_of_its_images(class_names: tuple[str, ...]) -> None:
    group = StoredCells(pa.concat_tables(TABLES), class_names)
    first = 0
    for rows in TABLES:
        cut, alone = group.side(first, first + rows.num_rows, SIZE), Side.from_rows(rows, SIZE, class_names)
        first += rows.num_rows
        for f in fields(Side):
            found, expected = getattr(cut, f.name), getattr(alone, f.name)
            assert (found is None) == (expected is None), f.name
            if expected is not None:
                np.testing.assert_equal(found, expected, err_msg=f.name)


def test_columns_that_an_image_has_not_are_none_there() -> None:
    group = StoredCells(pa.concat_tables(TABLES))
    bare = group.side(2, 3, SIZE)
    assert [bare.class_codes, bare.scores, bare.crowd, bare.ignore, bare.published_area, bare.several] == [None] * 6
    marked = group.side(3, 6, SIZE)
    np.testing.assert_equal(marked.crowd, [False, True, False])
    assert [marked.ignore, marked.class_codes] == [None, None]
    classed = group.side(0, 2, SIZE)
    assert classed.class_names == ("b",)
    np.testing.assert_equal(classed.class_codes, [0, -1])
