"""The reader of BBBC006: pairing by well, site and channel, planes, counts, and bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from .releases import Case, cells_of, check_case, cropped, cut, make_example, only, pixels_of, read_all

NAME = "bbbc006"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example(NAME, tmp_path_factory.mktemp(NAME))


def test_channels_are_paired_by_well_site_and_plane_though_their_guids_differ(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    sample = samples["a01_s2_z17"]
    first, second = (only(pristine / "BBBC006_v1_images_z_17", f"*_a01_s2_w{c}*.tif") for c in (1, 2))
    assert first.stem[-36:] != second.stem[-36:]
    assert sample.image.channels == ("Hoechst", "phalloidin")
    assert {p.member.rpartition("/")[2] for p in sample.image.pixels} == {first.name, second.name}


def test_labels_hold_for_every_plane_and_were_made_by_software(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    assert samples["b24_s1_z16"].instances.rle == samples["b24_s1_z17"].instances.rle
    assert samples["b24_s1_z16"].instances.column("annotator")[0] == "automatic"
    labels = pixels_of(only(pristine, "*_b24_s1.png"))
    assert len(samples["b24_s1_z16"].instances) == len(np.unique(labels)) - 1


def test_published_counts_are_kept_beside_the_labels(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    differing = [i for i, s in samples.items() if s.image.annotated and s.image.count != len(s.instances)]
    assert differing == ["a01_s2_z16", "a01_s2_z17"]  # the example's table is one off there


def test_both_sites_and_all_planes_of_a_well_are_one_group(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    assert {s.image.leakage_group for i, s in samples.items() if i.startswith("a01")} == {"well a01"}


def _label(root: Path) -> Path:
    return only(root, "*_a01_s1.png")


def _image(root: Path) -> Path:
    return only(root / "BBBC006_v1_images_z_16", "*_a01_s1_w1*.tif")


def _second_guid(root: Path) -> None:
    shutil.copy(
        _image(root),
        str(_image(root)).replace("-", "-", 1)[:-5] + ("0" if _image(root).stem[-1] != "0" else "1") + ".tif",
    )


CASES: dict[str, Case] = {
    "a label cut short": (lambda r: cut(_label(r)), "unreadable-mask", 2, cells_of("a01_s1")),
    "a label of another size": (lambda r: cropped(_label(r)), "size-mismatch", 2, cells_of("a01_s1")),
    "a field without label": (lambda r: _label(r).unlink(), "missing-annotation", 2, cells_of("a01_s1")),
    "a channel that is missing": (lambda r: _image(r).unlink(), "missing-channel", 1, 0),
    "a channel cut short in its header": (lambda r: _image(r).write_bytes(b"II*\0"), "unreadable-image", 1, 0),
    "a channel of another size": (lambda r: cropped(_image(r)), "size-mismatch", 2, cells_of("a01_s1_z16")),
    "two files of one channel": (_second_guid, "duplicate-channel", 1, 0),
    "a table without counts": (
        lambda r: only(r, "*counts.csv").write_text("nothing,here\n"),
        "unreadable-table",
        1,
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_becomes_findings_and_the_rest_is_read(pristine: Path, tmp_path: Path, case: str) -> None:
    check_case(NAME, pristine, tmp_path, CASES[case])
