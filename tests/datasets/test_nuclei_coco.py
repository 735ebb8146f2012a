"""The reader of the COCO collection of nuclei sets: its hierarchy, tiles, splits, and bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as coco_mask

from celltable.datasets.nuclei_coco import LOCAL_TRAIN, LOCAL_VAL, SOURCES, VAL_CLASSES, WHOLE

from .releases import Case, cells_of, check_case, make_example, only, read_all

NAME = "nuclei_coco"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example(NAME, tmp_path_factory.mktemp(NAME))


def test_image_ids_are_namespaced_and_classes_kept_verbatim(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    assert all(i.partition("/")[0] in SOURCES for i in samples)
    classes = {s.image.image_class for s in samples.values() if s.image.metadata["part"] == WHOLE}
    assert classes == {"purple_purple_320_256_sparce", "white_black_128_128"}


def test_local_splits_are_columns_of_the_whole_and_readable_alone(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    own = [s for s in samples.values() if s.image.metadata["part"] == WHOLE]
    assert {s.image.image_id for s in own if s.image.split == "val"} == {
        s.image.image_id for s in own if s.image.image_class in VAL_CLASSES
    }
    alone = {p: read_all(NAME, pristine, (p,))[0] for p in (LOCAL_TRAIN, LOCAL_VAL)}
    assert sum(map(len, alone.values())) == len(own)
    assert all(s.image.split == "val" for s in alone[LOCAL_VAL].values())


def test_stage_2_is_unlabelled_and_janowczyk_partial(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    assert {s.image.metadata["part"] for s in samples.values() if not s.image.annotated} == {"nuclei_stage_2_test"}
    assert {s.image.metadata["part"] for s in samples.values() if not s.image.exhaustive} == {
        "nuclei_partial_annotations"
    }


def test_tiles_name_their_rows_first_and_are_grouped_by_patient(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    tile = next(s.image for s in samples.values() if s.image.metadata["part"] == "nucleisegmentationbenchmark")
    assert (tile.metadata["tile_rows"], tile.metadata["tile_columns"]) == ("0_512", "512_1024")
    assert (tile.metadata["source_image"], tile.leakage_group) == ("TCGA-18-5592-01Z-00-DX1.tif", "kumar TCGA-18-5592")
    groups = {s.image.metadata["part"]: s.image.leakage_group for s in samples.values()}
    assert groups["TNBC_NucleiSegmentation"] == "tnbc 01"
    assert groups["nuclei_partial_annotations"] == "janowczyk 12750"
    assert (groups["BBBC006"], groups["BBBC018"], groups["BBBC020"]) == (
        "bbbc006 a01",
        "bbbc018 00733",
        "bbbc020 15min",
    )


def test_masks_are_those_of_pycocotools(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    document = json.loads((pristine / "annotations" / "cluster_nuclei.json").read_text())
    cells = samples["cluster_nuclei/1"].instances
    expected = [int(coco_mask.area(a["segmentation"])) for a in document["annotations"]]
    assert cells.area.tolist() == expected
    assert cells.published_area is not None
    assert list(cells.published_area) == expected


def _edit(root: Path, name: str, **change: Any) -> None:
    path = root / "annotations" / f"{name}.json"
    document = json.loads(path.read_text())
    document["annotations"][1].update(change)
    path.write_text(json.dumps(document))


CASES: dict[str, Case] = {
    "a missing picture": (lambda r: only(r / "BBBC007", "*.jpg").unlink(), "missing-image", 1, 0),
    "a damaged picture": (
        lambda r: only(r / "BBBC007", "*.jpg").write_bytes(b"\xff\xd8\xff"),
        "unreadable-image",
        1,
        0,
    ),
    "annotations cut short": (
        lambda r: (r / "annotations" / "BBBC006.json").write_text('{"images": ['),
        "unreadable-annotations",
        1,
        cells_of("BBBC006/"),
    ),
    "no annotation file": (
        lambda r: (r / "annotations" / "BBBC006.json").unlink(),
        "unreadable-annotations",
        0,
        cells_of("BBBC006/"),
    ),
    "a mask of another size": (
        lambda r: _edit(r, "BBBC018", segmentation={"size": [5, 5], "counts": "03"}),
        "invalid-segmentation",
        1,
        1,
    ),
    "an unknown category": (lambda r: _edit(r, "BBBC018", category_id=77), "unknown-class", 1, 0),
    "an annotation of no image": (lambda r: _edit(r, "BBBC018", image_id=999), "unknown-image", 1, 1),
    "an annotation id twice": (lambda r: _edit(r, "BBBC018", id=0), "duplicate-annotation-id", 1, 0),
    "another picture's size": (
        lambda r: only(r / "BBBC007", "*.jpg").write_bytes(only(r / "TNBC_NucleiSegmentation", "*.jpg").read_bytes()),
        "size-mismatch",
        1,
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_becomes_findings_and_the_rest_is_read(pristine: Path, tmp_path: Path, case: str) -> None:
    check_case(NAME, pristine, tmp_path, CASES[case])
