"""LIVECell: reduced real annotation files counted, and damaged files and records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celltable.errors import InputError

from .releases import Case, check_case, cropped, cut, make_example, only, read_all, rules

TRAIN = "annotations/LIVECell/livecell_coco_train.json"
FIRST = "A172_Phase_A7_1_01d00h00m_2"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example("livecell", tmp_path_factory.mktemp("livecell"))


def _edit(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        document = json.loads((root / TRAIN).read_text())
        change(document)
        (root / TRAIN).write_text(json.dumps(document))

    return spoil


def _tif(root: Path) -> Path:
    return only(root, f"{FIRST}.tif")


def _of_first(document: Any) -> dict[str, Any]:
    return next(a for a in document["annotations"] if a["image_id"] == document["images"][2]["id"])


CASES: dict[str, Case] = {
    "an image is missing": (lambda r: _tif(r).unlink(), "missing-image", 1, 0),
    "an empty image file": (lambda r: _tif(r).write_bytes(b""), "unreadable-image", 1, 0),
    "an image of another size": (lambda r: cropped(_tif(r)), "size-mismatch", 1, 0),
    "annotations as an object": (
        _edit(lambda d: d.update(annotations={str(a["id"]): a for a in d["annotations"]})), "annotations-dict", 1, 0,
    ),
    "an unknown category": (_edit(lambda d: d["annotations"][-1].update(category_id=77)), "unknown-class", 1, 0),
    "an image listed twice": (
        _edit(lambda d: d["images"].append({**d["images"][2], "id": 90_001})), "image-listed-twice", 2, 0,
    ),
    "a name of another grammar": (
        _edit(lambda d: d["images"][2].update(file_name="odd name ä.tif")), "unexpected-name", 1, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_or_record_is_a_finding_and_the_rest_is_read(case: str, pristine: Path, tmp_path: Path) -> None:
    check_case("livecell", pristine, tmp_path, CASES[case])


@pytest.mark.parametrize("spoil", [cut, lambda p: p.write_bytes(b""), lambda p: p.write_text("[1, 2]")])
def test_an_annotation_file_that_cannot_be_read_ends_the_command(
    spoil: Callable[[Path], object], pristine: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    spoil(root / TRAIN)
    with pytest.raises(InputError, match="livecell_coco_train"):
        read_all("livecell", root)


def test_a_missing_part_is_named(pristine: Path) -> None:
    with pytest.raises(InputError, match=r"a172_train.*found"):
        read_all("livecell", pristine, ("a172_train",))


def test_images_are_in_one_folder_or_in_a_folder_per_type(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    for path in list((root / "images").rglob("*.tif")):
        path.rename(path.parents[1] / path.name)
    before, _ = read_all("livecell", pristine)
    after, _ = read_all("livecell", root)
    assert {i: s.instances.rle for i, s in after.items()} == {i: s.instances.rle for i, s in before.items()}


def test_an_image_that_no_file_lists_is_unlabelled(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    shutil.copy(_tif(root), _tif(root).with_name("A172_Phase_B7_1_00d00h00m_1.tif"))
    samples, _ = read_all("livecell", root)
    extra = samples["A172_Phase_B7_1_00d00h00m_1"]
    assert (extra.image.annotated, len(extra.instances), extra.image.leakage_group) == (False, 0, "A172 B7")


def test_published_areas_are_kept_beside_the_pixel_count(pristine: Path) -> None:
    samples, _ = read_all("livecell", pristine)
    document = json.loads((pristine / TRAIN).read_text())
    records = [a for a in document["annotations"] if a["image_id"] == document["images"][2]["id"]]
    cells = samples[FIRST].instances
    assert cells.column("published_area") == [a["area"] for a in records]
    assert cells.column("source_id") == [str(a["id"]) for a in records]
    assert set(cells.column("kind")) == {"cell"}


@pytest.mark.real
def test_the_real_files_have_the_published_cells(sample: Callable[[str], Path]) -> None:
    samples, findings = read_all("livecell", sample("livecell/LIVECell_dataset_2021"))
    n = {
        split: (
            len(group := [s for s in samples.values() if s.image.split == split]),
            sum(len(s.instances) for s in group),
        )
        for split in ("val", "test")
    }
    assert n == {"val": (5, 1243), "test": (7, 1495)}
    rest = [s for s in samples.values() if s.image.split is None]
    assert (len(samples), len(rest)) == (45, 33)
    assert not any(s.image.annotated for s in rest)
    assert {s.image.size for s in samples.values()} == {(520, 704)}
    assert not set(rules(findings)) & {"size-mismatch", "missing-image", "unexpected-name", "unreadable-image"}
    assert all(s.image.leakage_group and s.image.cell_type for s in samples.values())
