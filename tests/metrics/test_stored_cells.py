"""Cells viewed in the rows of a row group are those made of the rows of their image alone, and so are their sides."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from celltable.cells import Instances, Rows, instances_table
from celltable.scoring import Side

SIZE = (6, 7)
COLUMNS = ("ids", "areas", "boxes", "class_codes", "scores", "crowd", "ignore", "published_area", "published_boxes",
           "source_ids", "several")  # fmt: skip


def image(n: int, seed: int, **columns: Any) -> Instances:
    rng = np.random.default_rng(seed)
    return Instances.from_masks([rng.random(SIZE) < 0.4 for _ in range(n)], SIZE, **columns)


IMAGES = [
    image(2, 0, class_name=["b", None], score=[0.5, None], source_id=["7", "8"], polygon=[b"x", None]),
    image(0, 1),
    image(1, 2),
    image(
        3, 3, crowd=[False, True, False], published_area=[1.5, None, 2.0], published_bbox=[[1, 2, 3, 4.5], None, None],
        instance_id=[4, 2, 9], parent=[9, None, None], kind=["nucleus", "cell", "cell"],
    ),
    image(2, 4, class_name="a", ignore=True, class_names=[["a", "c"], None], class_scores=[[0.5, 0.25], None],
          annotator="me", truncated=[True, False]),
]  # fmt: skip
TABLE = instances_table([(f"i{k}", cells) for k, cells in enumerate(IMAGES)])
STARTS = np.cumsum([0, *map(len, IMAGES)]).tolist()


def viewed(rows: Rows, k: int) -> Instances:
    return Instances.of_rows(rows, STARTS[k], STARTS[k + 1], SIZE)


@pytest.mark.parametrize("k", range(len(IMAGES)))
def test_cells_of_a_row_group_are_those_that_were_written(k: int) -> None:
    cells, own = viewed(Rows(TABLE), k), IMAGES[k]
    for other in (cells, pickle.loads(pickle.dumps(cells)), Instances.from_arrow(own.to_arrow("x"), SIZE)):
        for name in ("rle", "area", "bbox", *Instances.COLUMNS):
            assert other.column(name) == own.column(name), name
    assert cells.to_arrow("x").equals(own.to_arrow("x"))
    assert Instances.concat([cells, cells]).to_arrow("x").equals(Instances.concat([own, own]).to_arrow("x"))


@pytest.mark.parametrize("k", range(len(IMAGES)))
def test_some_cells_of_a_row_group_are_some_of_those_written(k: int) -> None:
    chosen = np.arange(len(IMAGES[k]))[::-2]
    cells, own = viewed(Rows(TABLE), k).take(chosen), IMAGES[k].take(chosen)
    assert cells.take(chosen[:1] * 0).to_arrow("x").equals(own.take(chosen[:1] * 0).to_arrow("x"))
    assert cells.with_columns(score=None).to_arrow("x").equals(own.with_columns(score=None).to_arrow("x"))
    assert cells.with_columns(annotator="you").take(chosen * 0).annotator == (
        "you" if len(chosen) else own.with_columns(annotator="you").annotator
    )


def test_masks_and_numbers_of_a_row_group_are_not_copied() -> None:
    rows = Rows(TABLE)
    buffer = np.frombuffer(rows.array("rle").buffers()[2], np.uint8)
    cells = viewed(rows, 3)
    assert np.shares_memory(cells.rle.data, buffer)
    assert np.shares_memory(cells.ids, rows.array("instance_id").to_numpy())
    assert np.shares_memory(cells.area, rows.array("area").to_numpy())


@pytest.mark.parametrize("class_names", [(), ("a", "b", "z")])
def test_sides_of_a_row_group_are_those_of_its_images(class_names: tuple[str, ...]) -> None:
    rows = Rows(TABLE)
    for k, cells in enumerate(IMAGES):
        side = Side.from_instances(viewed(rows, k), class_names, all_coded=True)
        alone = Side.from_instances(Instances.from_arrow(cells.to_arrow("x"), SIZE), class_names, all_coded=True)
        plain = Side.from_instances(cells, class_names, all_coded=True)
        for name in COLUMNS:
            for other in (alone, plain):
                found, expected = getattr(side, name), getattr(other, name)
                assert (found is None) == (expected is None), name
                if expected is not None:
                    np.testing.assert_equal(found, expected, err_msg=name)


def test_columns_that_an_image_does_not_have_are_none() -> None:
    rows = Rows(TABLE)
    bare = Side.from_instances(viewed(rows, 2))
    assert [bare.class_codes, bare.scores, bare.crowd, bare.ignore, bare.published_area, bare.several] == [None] * 6
    marked = Side.from_instances(viewed(rows, 3))
    np.testing.assert_equal(marked.crowd, [False, True, False])
    assert [marked.ignore, marked.class_codes] == [None, None]
    classed = Side.from_instances(viewed(rows, 0))
    assert classed.class_names == ("b",)
    np.testing.assert_equal(classed.class_codes, [0, -1])


def test_rows_cut_from_a_larger_table_are_the_same_cells() -> None:
    wide = pa.concat_tables([TABLE, TABLE.slice(2, 4)])  # two chunks
    rows = Rows(wide.slice(STARTS[3], len(TABLE) - STARTS[3] + 4))
    assert Instances.of_rows(rows, 0, 3, SIZE).to_arrow("x").equals(IMAGES[3].to_arrow("x"))
    assert Instances.of_rows(rows, 6, 9, SIZE).column("polygon") == [None, None, None]
