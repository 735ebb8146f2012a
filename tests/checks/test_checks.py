"""Every check finds its defect at the right cell, and nothing in clean cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from celltable import plugins
from celltable.cells import Finding, Image, Instances, Pixels, Sample
from celltable.geometry.masks import Masks
from celltable.plugins.check import Check

SIZE = (40, 60)
Mask = NDArray[np.bool_]


def disc(r: float, c: float, radius: float, size: tuple[int, int] = SIZE) -> Mask:
    y, x = np.mgrid[: size[0], : size[1]]
    return np.asarray((y - r) ** 2 + (x - c) ** 2 <= radius**2)


def sample_of(
    masks: Iterable[Mask], pixels: NDArray[Any] | None = None, image: Image | None = None, **columns: Any
) -> Sample:
    cells = Instances.from_masks(masks, SIZE, **columns)
    loader = None if pixels is None else (lambda: pixels)
    return Sample(image or Image("a", *SIZE), cells, load_pixels=loader)


def run(rule: str, sample: Sample, **options: float) -> list[Finding]:
    check: Check = plugins.load("checks", rule)
    return list(check.find(sample, **options))


def run_all(rule: str, samples: Iterable[Sample], dataset: dict[str, Any] | None = None) -> list[Finding]:
    check: Check = plugins.load("checks", rule)
    assert check.gather is not None
    return list(check.find([check.gather(s) for s in samples], dataset or {}))


CLEAN = [disc(10, 10, 6), disc(28, 12, 6), disc(12, 30, 6), disc(28, 30, 6), disc(12, 48, 6), disc(29, 48, 6)]
SHAPE_RULES = [n for n, c in plugins.load_all("checks").items() if c.scope == "image" and not c.needs_pixels]


def test_an_empty_mask_is_an_error_at_its_cell() -> None:
    (found,) = run("empty-mask", sample_of([disc(10, 10, 5), np.zeros(SIZE, bool)]))
    assert (found.instance_id, found.severity, found.value) == (2, "error", 0)


def test_a_hole_counts_its_pixels_and_a_small_one_is_a_note() -> None:
    large = disc(20, 20, 10) & ~disc(20, 20, 2)
    small = disc(20, 45, 8)
    small[20, 45] = False
    found = run("hole", sample_of([large, small]))
    assert [(f.instance_id, f.value, f.severity) for f in found] == [(1, 13.0, "warning"), (2, 1.0, "note")]


def test_a_crowd_may_have_holes_and_parts() -> None:
    crowd = (disc(20, 20, 10) & ~disc(20, 20, 8)) | disc(20, 45, 4)
    for rule in ("hole", "several-components", "outline-mask"):
        assert run(rule, sample_of([crowd]))
        assert run(rule, sample_of([crowd], crowd=[True])) == []


def test_parts_that_touch_at_corners_are_a_note_and_apart_a_warning() -> None:
    corner = np.zeros(SIZE, bool)
    corner[5:8, 5:8] = corner[8:11, 8:11] = True
    apart = disc(20, 20, 4) | disc(20, 40, 4)
    found = run("several-components", sample_of([corner, apart]))
    assert [(f.instance_id, f.value, f.severity) for f in found] == [(1, 2.0, "note"), (2, 2.0, "warning")]


def test_an_outline_is_distinguished_from_a_cell_with_a_hole() -> None:
    outline = disc(20, 15, 10) & ~disc(20, 15, 8.5)
    holed = disc(20, 42, 10) & ~disc(20, 42, 4)
    (found,) = run("outline-mask", sample_of([outline, holed]))
    assert found.instance_id == 1
    assert found.value == pytest.approx(1 - outline.sum() / disc(20, 15, 10).sum())


def test_an_overlap_is_reported_at_the_later_cell_with_its_pixels() -> None:
    a, b = disc(20, 20, 8), disc(20, 32, 8)
    (found,) = run("overlap", sample_of([a, b]))
    assert (found.instance_id, found.value) == (2, float((a & b).sum()))
    assert run("touching", sample_of([a, b])) == []


def test_the_same_cell_annotated_twice_is_an_error() -> None:
    a, b = disc(20, 20, 8), disc(20, 21, 8)
    (found,) = run("duplicate-annotation", sample_of([a, disc(20, 45, 5), b]))
    assert (found.instance_id, found.severity) == (3, "error")
    assert found.value == pytest.approx((a & b).sum() / (a | b).sum())
    kinds = ["nucleus", "nucleus", "cell"]
    assert run("duplicate-annotation", sample_of([a, disc(20, 45, 5), b], kind=kinds)) == []


def test_touching_cells_are_counted_by_the_edges_between_them() -> None:
    a, b = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    a[10:20, 10:20] = True
    b[12:20, 20:30] = True
    (found,) = run("touching", sample_of([a, b]))
    assert (found.instance_id, found.value, found.severity) == (2, 8.0, "note")


def test_two_cells_in_one_mask_are_a_probable_merge_and_a_large_round_one_is_not() -> None:
    cells = [disc(8, 8 + 11 * k, 4.5) for k in range(4)]
    merged = disc(28, 14, 6) | disc(28, 26, 6)
    large = disc(28, 48, 8)
    found = run("probable-merge", sample_of([*cells, merged, large]))
    assert [f.instance_id for f in found] == [5]


def test_a_speck_is_found_but_not_the_rest_of_a_cell_at_the_border() -> None:
    speck, cut = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    speck[20:22, 30:33] = True
    cut[0:1, 40:52] = True
    found = run("speck", sample_of([*CLEAN[:2], speck, cut]), min_share=0.2)
    assert [(f.instance_id, f.value) for f in found] == [(3, 6.0)]


def test_cells_at_the_border_name_their_sides() -> None:
    found = run("cut-by-border", sample_of([disc(0, 0, 5), disc(20, 20, 5), disc(39, 30, 5)]))
    assert [(f.instance_id, f.value) for f in found] == [(1, 2.0), (3, 1.0)]
    assert "left and top" in found[0].message


def test_a_mask_of_another_size_is_an_error_and_does_not_stop_other_checks() -> None:
    sample = sample_of(CLEAN[:2])
    huge = Instances.from_masks([np.ones((90, 90), bool)], (90, 90)).rle[0]
    own = sample.instances
    masks = Masks.of([own.rle[0], huge], own.size, own.area, own.bbox)  # as in a store
    broken = replace(sample, instances=own.with_masks(masks))
    (found,) = run("outside-image", broken)
    assert (found.instance_id, found.severity) == (2, "error")
    for rule in SHAPE_RULES:
        run(rule, broken)


def test_published_areas_and_boxes_are_compared_with_the_mask() -> None:
    area = float(CLEAN[0].sum())
    right, wrong = [4.0, 4.0, 13.0, 13.0], [9.0, 4.0, 13.0, 13.0]
    sample = sample_of([CLEAN[0]] * 3, published_area=[area - 6, 3 * area, None], published_bbox=[right, wrong, None])
    assert [(f.instance_id, f.value) for f in run("published-area-mismatch", sample)] == [(2, 2 * area)]
    assert [(f.instance_id, f.value) for f in run("published-box-mismatch", sample)] == [(2, 5.0)]


def test_a_nucleus_needs_a_cell_that_covers_it() -> None:
    masks = [disc(20, 20, 12), disc(20, 20, 5), disc(20, 50, 5), disc(10, 50, 4)]
    kinds, parents = ["cell", "nucleus", "nucleus", "nucleus"], [None, 1, 1, 9]
    found = run("parent-mismatch", sample_of(masks, kind=kinds, parent=parents))
    assert [(f.instance_id, f.severity, f.value) for f in found] == [(3, "warning", 1.0), (4, "error", 1.0)]


def test_a_bright_blob_without_a_mask_is_probably_missed_unless_annotation_is_partial() -> None:
    pixels = (20 + 100 * np.any(CLEAN, axis=0)).astype(np.uint8)
    for image in (pixels, 255 - pixels, np.dstack([pixels, pixels // 2, pixels // 4])):
        (found,) = run("probable-missed", sample_of(CLEAN[:5], image))
        assert found.value == 1
        assert "(48, 29)" in found.message
    for partial in (
        Image("a", *SIZE, exhaustive=False),
        Image("a", *SIZE, annotated=False),
        Image("a", *SIZE, ignore=True),
    ):
        assert run("probable-missed", sample_of(CLEAN[:5], pixels, partial)) == []


def test_a_blank_image_is_found_whatever_its_opacity() -> None:
    blank = np.zeros((*SIZE, 4), np.uint8)
    blank[..., 3] = 255
    assert [f.value for f in run("blank-image", sample_of([], blank))] == [0.0]
    blank[0, 1, 0] = 1
    assert run("blank-image", sample_of([], blank)) == []


def many(n: int, **changes: Any) -> list[Sample]:
    rng = np.random.default_rng(1)
    made = []
    for k in range(n):
        coarse = rng.integers(0, 255, (10, 15), dtype=np.uint8)
        pixels = np.kron(coarse, np.ones((4, 4), np.uint8))
        made.append(sample_of(CLEAN, pixels, Image(f"i{k}", *SIZE, dataset="x", **changes)))
    return made


def test_the_same_pixels_twice_are_found_and_an_error_across_splits() -> None:
    samples = many(4)
    pixels = samples[1].pixels()
    again = Sample(replace(samples[3].image, dataset="y"), samples[3].instances, load_pixels=lambda: pixels)
    (found,) = run_all("duplicate-image", [*samples[:3], again])
    assert (found.image_id, found.severity) == ("i3", "warning")
    assert "i1 of data set x" in found.message
    train = replace(samples[1], image=replace(samples[1].image, split="train"))
    test = replace(again, image=replace(again.image, split="test"))
    assert [f.severity for f in run_all("duplicate-image", [train, test])] == ["error"]
    assert run_all("duplicate-image", samples) == []


def test_a_brighter_copy_is_a_near_duplicate_and_other_images_are_not() -> None:
    samples = many(6)
    pixels = (samples[2].pixels() // 2 + 40).astype(np.uint8)
    copy = replace(samples[5], load_pixels=lambda: pixels)
    assert run_all("near-duplicate-image", samples) == []
    (found,) = run_all("near-duplicate-image", [*samples[:5], copy])
    assert (found.image_id, found.severity) == ("i5", "note")
    assert "image i2" in found.message


def test_two_ids_of_one_file_are_found() -> None:
    where = (Pixels("zip", "a.png"),)
    a, b = (sample_of(CLEAN, image=Image(i, *SIZE, pixels=where)) for i in ("p", "q"))
    other = sample_of(CLEAN, image=Image("r", *SIZE, pixels=(Pixels("zip", "b.png"),)))
    assert [f.image_id for f in run_all("image-listed-twice", [a, b, other])] == ["q"]


def test_an_image_with_far_fewer_cells_than_similar_ones_is_found_unless_it_is_partial() -> None:
    def of(name: str, n: int, **changes: Any) -> Sample:
        cells = Instances.from_masks([disc(10, 10, 3)] * n, SIZE)
        return Sample(Image(name, *SIZE, cell_type="A172", **changes), cells)

    full = [of(f"i{k}", 60) for k in range(6)]
    assert run_all("nearly-unannotated", full) == []
    few = [of("few", 2), of("none", 0), of("partial", 1, exhaustive=False), of("unlabelled", 0, annotated=False)]
    found = run_all("nearly-unannotated", [*full, *few])
    assert [(f.image_id, f.value, f.severity) for f in found] == [("few", 2.0, "warning"), ("none", 0.0, "note")]
    assert run_all("nearly-unannotated", few[:1]) == []


def test_counts_are_compared_with_the_published_ones_of_their_part() -> None:
    info = {"published_counts": [["train", "images", 2], ["train", "instances", 13], ["test", "images", 9]]}
    samples = many(2, split="train")
    (found,) = run_all("count-differs", samples, info)
    assert (found.value, found.image_id) == (-1.0, None)
    assert "12 instances of train where 13 are published" in found.message
    weak = replace(samples[0], image=replace(samples[0].image, count=5.0))
    assert [(f.image_id, f.value) for f in run_all("count-differs", [weak])] == [("i0", 1.0)]


def test_a_split_that_divides_a_group_is_an_error_if_a_test_part_is_involved() -> None:
    def at(name: str, split: str | None, group: str | None) -> Sample:
        return sample_of([], image=Image(name, *SIZE, split=split, leakage_group=group))

    samples = [at("a", "train", "p1"), at("b", "train", "p1"), at("c", "test", "p1"), at("d", "train", "p2")]
    found = run_all("split-leak", [*samples, at("e", "val", "p2"), at("f", "test", "p3"), at("g", "test", None)])
    assert [(f.image_id, f.severity, f.value) for f in found] == [("c", "error", 3.0), ("e", "warning", 2.0)]
