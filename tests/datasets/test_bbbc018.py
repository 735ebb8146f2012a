"""The reader of BBBC018: ArrayScan bitmaps, upside-down outlines, the field without outlines, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celltable.datasets.bbbc018 import GREEN
from celltable.synthetic import generate

from .releases import Case, cells_of, check_case, cropped, cut, make_example, only, pixels_of, read_all, remove, resave

NAME = "bbbc018"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example(NAME, tmp_path_factory.mktemp(NAME))


def test_outlines_are_flipped_and_their_line_belongs_to_the_object(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    truth = generate("fluorescence", size=(128, 128), cells=10, seed=0).label_map > 0
    cells = samples["00733"].instances
    drawn = np.any([m for m, k in zip(cells.masks(), cells.column("kind"), strict=True) if k == "cell"], axis=0)
    assert (drawn & truth).sum() / (drawn | truth).sum() > 0.99
    assert (drawn[::-1] & truth).sum() / (drawn | truth).sum() < 0.8


def test_bitmaps_with_and_without_file_header_give_their_green_channel(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    heads = {r: only(pristine, f"00733-{r}.DIB").read_bytes()[:2] == b"BM" for r in ("DNA", "actin")}
    assert heads == {"DNA": True, "actin": False}
    pixels = samples["00733"].image.pixels
    assert [(p.role, p.channel) for p in pixels] == [("DNA", GREEN), ("actin", GREEN), ("pH3", GREEN)]


def test_field_10779_is_unlabelled_not_empty(pristine: Path) -> None:
    samples, findings = read_all(NAME, pristine)
    assert (samples["10779"].image.annotated, len(samples["10779"].instances)) == (False, 0)
    assert [(f.rule, f.severity) for f in findings if f.image_id == "10779"] == [("missing-annotation", "note")]


def _outline(root: Path) -> Path:
    return only(root, "00733-nuclei.png")


def _image(root: Path) -> Path:
    return only(root, "00733-actin.DIB")


def _turn(root: Path) -> None:
    path = only(root, "00733-DNA.DIB")
    pixels = pixels_of(path)[..., [1, 0, 2]]
    resave(path.with_suffix(".bmp"), np.ascontiguousarray(pixels))
    path.unlink()


CASES: dict[str, Case] = {
    "an outline file cut short": (lambda r: cut(_outline(r)), "unreadable-mask", 1, cells_of("00733", kind="nucleus")),
    "outlines of another size": (lambda r: cropped(_outline(r)), "size-mismatch", 1, cells_of("00733", kind="nucleus")),
    "one outline file of two": (
        lambda r: _outline(r).unlink(),
        "missing-annotation",
        1,
        cells_of("00733", kind="nucleus"),
    ),
    "a missing channel": (lambda r: _image(r).unlink(), "missing-channel", 1, 0),
    "an empty channel": (lambda r: _image(r).write_bytes(b""), "unreadable-image", 1, 0),
    "data in another colour": (_turn, "data-channel", 1, 0),
    "outlines without image": (
        lambda r: remove((r / "BBBC018_v1_images").glob("00733*")),
        "missing-image",
        1,
        cells_of("00733"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_becomes_findings_and_the_rest_is_read(pristine: Path, tmp_path: Path, case: str) -> None:
    check_case(NAME, pristine, tmp_path, CASES[case])
