"""Every repair fixes its defect, changes nothing else, and leaves nothing for its check to find."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from celltable import plugins
from celltable.cells import Edit, Image, Instances, Sample
from celltable.errors import CelltableError
from celltable.pipelines.repair import applied, choose
from celltable.plugins.repair import Repair

SIZE = (40, 60)
Mask = NDArray[np.bool_]


def disc(r: float, c: float, radius: float) -> Mask:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.asarray((y - r) ** 2 + (x - c) ** 2 <= radius**2)


def sample_of(masks: Iterable[Mask], size: tuple[int, int] = SIZE, **columns: Any) -> Sample:
    return Sample(Image("a", *size), Instances.from_masks(masks, size, **columns))


def propose(name: str, sample: Sample, **options: Any) -> list[Edit]:
    repair: Repair = plugins.load("repairs", name)
    return list(repair.propose(sample, **options))


def mend(name: str, sample: Sample, **options: Any) -> Sample:
    return applied(sample, propose(name, sample, **options))


def masks_of(sample: Sample) -> dict[int, Mask]:
    return dict(zip(sample.instances.ids.tolist(), sample.instances.masks(), strict=True))


def findings(rule: str, sample: Sample) -> list[Any]:
    return list(plugins.load("checks", rule).find(sample))


CLEAN = [disc(10, 10, 6), disc(28, 12, 6), disc(12, 30, 6), disc(28, 30, 6), disc(12, 48, 6), disc(29, 48, 6)]


def test_holes_are_filled_but_not_over_a_cell_inside() -> None:
    holed = disc(20, 15, 10) & ~disc(20, 15, 3)
    ring = disc(20, 42, 10) & ~disc(20, 42, 5)
    inner = disc(20, 42, 3)
    sample = sample_of([holed, ring, inner])
    after = masks_of(mend("fill-holes", sample))
    assert (after[1] == disc(20, 15, 10)).all()
    assert (after[2] == ring).all()
    (edit,) = propose("fill-holes", sample)
    assert (edit.instance_id, edit.rule, edit.value, edit.action) == (
        1,
        "hole",
        float(disc(20, 15, 3).sum()),
        "replace",
    )


def test_an_outline_is_filled_and_a_small_hole_is_left_alone() -> None:
    outline, holed = disc(20, 15, 10) & ~disc(20, 15, 8.5), disc(20, 42, 10) & ~disc(20, 42, 3)
    after = masks_of(mend("fill-outlines", sample_of([outline, holed])))
    assert (after[1] == disc(20, 15, 10)).all()
    assert (after[2] == holed).all()


def test_a_rim_and_the_core_that_fills_it_become_one_cell() -> None:
    rim, core = disc(20, 15, 10) & ~disc(20, 15, 7), disc(20, 15, 7)
    after = masks_of(mend("fill-outlines", sample_of([core, rim])))
    assert list(after) == [2]
    assert (after[2] == disc(20, 15, 10)).all()
    small = disc(20, 15, 3)
    assert propose("fill-outlines", sample_of([small, rim])) == []


def test_the_largest_part_is_kept() -> None:
    cell = disc(20, 20, 6) | disc(20, 50, 3)
    after = masks_of(mend("keep-largest-component", sample_of([cell])))
    assert (after[1] == disc(20, 20, 6)).all()


def test_parts_become_cells_with_the_same_class_and_new_ids() -> None:
    cell = disc(20, 20, 6) | disc(20, 50, 5)
    cell[2, 2] = True
    sample = sample_of([cell, disc(35, 35, 3)], class_name=["tumour", "other"])
    after = mend("split-components", sample)
    assert {k: m.sum() for k, m in masks_of(after).items()} == {
        2: disc(35, 35, 3).sum(), 3: disc(20, 20, 6).sum(), 4: disc(20, 50, 5).sum()
    }  # fmt: skip
    assert after.instances.column("class_name") == ["other", "tumour", "tumour"]


@pytest.mark.parametrize(
    ("policy", "loser"),
    [("smaller-wins", 1), ("larger-wins", 2), ("first-wins", 2), ("last-wins", 1), ("score-wins", 1)],
)
def test_each_policy_names_who_loses_the_shared_pixels(policy: str, loser: int) -> None:
    large, small = disc(20, 20, 9), disc(20, 31, 6)
    after = masks_of(mend("resolve-overlaps", sample_of([large, small], score=[0.2, 0.9]), policy=policy))
    expected = {1: large & ~small if loser == 1 else large, 2: small & ~large if loser == 2 else small}
    assert all((after[k] == expected[k]).all() for k in (1, 2))


def test_specks_and_empty_masks_go_and_name_their_rule() -> None:
    speck = np.zeros(SIZE, bool)
    speck[20, 20:23] = True
    edits = propose("drop-specks", sample_of([*CLEAN[:2], speck, np.zeros(SIZE, bool)]))
    assert [(e.instance_id, e.rule, e.action) for e in edits] == [(3, "speck", "remove"), (4, "empty-mask", "remove")]


def test_of_three_annotations_of_one_cell_the_first_stays() -> None:
    sample = sample_of([disc(20, 21, 8), disc(20, 20, 8), disc(20, 50, 5), disc(20, 22, 8)])
    assert [e.instance_id for e in propose("drop-duplicates", sample)] == [2, 4]


def test_a_merge_is_cut_at_its_waist_and_covers_the_same_pixels() -> None:
    cells = [disc(8, 8 + 11 * k, 4.5) for k in range(5)]
    merged = disc(28, 14, 6) | disc(28, 24, 6)
    sample = sample_of([*cells, merged], class_name="tumour")
    assert findings("probable-merge", sample)
    after = mend("split-merges", sample)
    parts = [m for k, m in masks_of(after).items() if k > 6]
    assert len(parts) == 2
    assert (parts[0] ^ parts[1] == merged).all()
    assert not findings("probable-merge", after)


def test_a_polygon_that_no_longer_fits_goes_and_what_was_published_stays() -> None:
    holed = disc(20, 15, 10) & ~disc(20, 15, 3)
    sample = sample_of([holed], polygon=[b"\x01"], published_area=[12.5], source_id=["x"])
    (edit,) = propose("fill-holes", sample)
    assert edit.before is not None
    assert edit.after is not None
    assert (edit.before.column("polygon"), edit.after.column("polygon")) == ([b"\x01"], [None])
    assert (edit.after.column("published_area"), edit.after.column("source_id")) == ([12.5], ["x"])


stacks = st.tuples(st.integers(1, 5), st.integers(2, 12), st.integers(2, 12)).flatmap(lambda s: arrays(bool, s))


@given(masks=stacks)
def test_the_only_holes_left_are_those_with_another_cell_inside(masks: Mask) -> None:
    after = mend("fill-holes", sample_of(list(masks), (int(masks.shape[1]), int(masks.shape[2]))))
    shown = masks_of(after)
    for f in findings("hole", after):
        holes = ndimage.binary_fill_holes(shown[f.instance_id]) & ~shown[f.instance_id]
        assert any((holes & masks[k - 1]).any() for k in shown if k != f.instance_id)


@given(masks=stacks)
def test_no_cell_is_left_that_is_smaller_than_a_speck(masks: Mask) -> None:
    after = mend("drop-specks", sample_of(list(masks), (int(masks.shape[1]), int(masks.shape[2]))), min_share=0.0)
    assert all(area >= 10 for area in after.instances.area.tolist())


@pytest.mark.parametrize("policy", ["larger-wins", "first-wins", "last-wins", "score-wins"])
@given(masks=stacks)
def test_nothing_overlaps_after_any_policy(policy: str, masks: Mask) -> None:
    sample = sample_of(list(masks), (int(masks.shape[1]), int(masks.shape[2])))
    assert findings("overlap", mend("resolve-overlaps", sample, policy=policy)) == []


@given(masks=stacks)
def test_resolving_overlaps_covers_the_same_pixels_once(masks: Mask) -> None:
    size = (int(masks.shape[1]), int(masks.shape[2]))
    after = list(masks_of(mend("resolve-overlaps", sample_of(list(masks), size))).values())
    total = np.sum(after, axis=0) if after else np.zeros(size, int)
    assert (total == masks.any(axis=0)).all()


def test_rules_and_repairs_choose_repairs_in_one_fixed_order() -> None:
    assert [r.name for r in choose(["speck", "hole", "fill_holes", "overlap"])] == [
        "fill-holes", "resolve-overlaps", "drop-specks"
    ]  # fmt: skip
    assert {r.name for r in choose([])} == {"fill-holes", "fill-outlines"}
    with pytest.raises(CelltableError, match="No repair mends the rule 'touching'"):
        choose(["touching"])
    with pytest.raises(CelltableError, match="No repair or rule is called 'nonsense'"):
        choose(["nonsense"])
