"""The reader of BBBC020: one file per object, names with spaces, the corrupt file, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .releases import Case, cells_of, check_case, cropped, make_example, only, pixels_of, read_all, remove, resave

NAME = "bbbc020"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example(NAME, tmp_path_factory.mktemp(NAME))


def test_objects_are_sorted_by_number_and_keep_their_names(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    names = samples["jw-15min 5"].instances.column("source_id")
    assert names == sorted(names, key=lambda n: ("_c1_" in n, int(n.rpartition("_")[2])))


def test_the_corrupt_object_is_reported_and_skipped(pristine: Path) -> None:
    _, findings = read_all(NAME, pristine)
    bad = [f for f in findings if f.rule == "unreadable-mask"]
    assert [(f.image_id, "jw-15min 5_c5_43.TIF" in f.message) for f in bad] == [("jw-15min 5", True)]


def test_annotation_is_partial_and_a_series_is_one_group(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    assert not any(s.image.exhaustive for s in samples.values())
    groups = {i: s.image.leakage_group for i, s in samples.items()}
    assert groups == {"jw-15min 5": "15min", "jw-1h 2": "1h", "jw-30min 1": "30min", "jw-Kontrolle1": "Kontrolle"}
    assert not samples["jw-30min 1"].image.annotated


def test_false_colour_becomes_one_channel_per_stain(pristine: Path) -> None:
    sample = read_all(NAME, pristine)[0]["jw-1h 2"]
    c1, c5 = (pixels_of(only(pristine, f"jw-1h 2_{c}.TIF")) for c in ("c1", "c5"))
    assert [p.channel for p in sample.image.pixels] == [0, 2]
    assert (c1[..., 0] == c1.max(axis=2)).all()
    assert (c5[..., 2] == c5.max(axis=2)).all()


def test_an_object_drawn_as_outline_is_filled(pristine: Path) -> None:
    cells = read_all(NAME, pristine)[0]["jw-1h 2"].instances
    k = cells.column("source_id").index("jw-1h 2_c1_1")
    assert cells.area[k] > 2 * np.count_nonzero(pixels_of(only(pristine, "jw-1h 2_c1_1.TIF")))


def _object(root: Path) -> Path:
    return only(root, "jw-1h 2_c5_2.TIF")


def _image(root: Path) -> Path:
    return only(root, "jw-1h 2_c1.TIF")


def _turn(root: Path) -> None:
    blue = only(root, "jw-1h 2_c5.TIF")
    resave(blue, np.ascontiguousarray(pixels_of(blue)[..., ::-1]))


CASES: dict[str, Case] = {
    "another corrupt object": (lambda r: _object(r).write_bytes(b"II*\0"), "unreadable-mask", 1, 1),
    "an object of another size": (lambda r: cropped(_object(r)), "size-mismatch", 1, 1),
    "a missing channel": (lambda r: _image(r).unlink(), "missing-channel", 1, 0),
    "a damaged channel": (lambda r: _image(r).write_bytes(b"MM"), "unreadable-image", 1, 0),
    "data in another colour": (_turn, "data-channel", 1, 0),
    "objects without image": (
        lambda r: remove((r / "BBBC020_v1_images" / "jw-1h 2").iterdir()),
        "missing-image",
        1,
        cells_of("jw-1h"),
    ),
    "a field whose objects are all gone": (
        lambda r: remove(r.glob("BBC020*/jw-1h 2_*")),
        "missing-annotation",
        1,
        cells_of("jw-1h"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_becomes_findings_and_the_rest_is_read(pristine: Path, tmp_path: Path, case: str) -> None:
    check_case(NAME, pristine, tmp_path, CASES[case])
