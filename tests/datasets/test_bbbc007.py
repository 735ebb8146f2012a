"""The reader of BBBC007: four grammars of names, polarity, corner marks, nuclei in cells, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from .releases import Case, cells_of, check_case, cropped, cut, make_example, only, pixels_of, read_all, remove, resave

NAME = "bbbc007"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example(NAME, tmp_path_factory.mktemp(NAME))


def test_every_folder_grammar_pairs_dna_with_actin(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    assert list(samples) == ["17P1_POS0013", "20P1_POS0005", "A9 p10", "AS_09125_040701150004_A02f00"]
    assert all(s.image.channels == ("DNA", "actin") for s in samples.values())
    assert {s.image.leakage_group for s in samples.values()} == {"A9", "f96 (17)", "f9620", "f113"}


def test_cells_are_closed_regions_whatever_the_polarity(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    for sub, name, field in (("A9", "A9 p10f", "A9 p10"), ("f9620", "20P1_POS0005_F_2UL", "20P1_POS0005")):
        drawing = pixels_of(pristine / "BBBC007_v1_outlines" / sub / f"{name}.tif")
        values, counts = np.unique(drawing, return_counts=True)
        line = drawing == values[counts.argmin()]
        labels, n = ndimage.label(~line)
        edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        areas = [int((labels == k).sum()) for k in range(1, n + 1) if k not in edge]
        cells = samples[field].instances
        kept = cells.take([k for k, kind in enumerate(cells.column("kind")) if kind == "cell"])
        assert sorted(kept.area.tolist()) == sorted(a for a in areas if a >= 16)


def test_a_nucleus_knows_the_one_cell_that_holds_it(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    cells = samples["17P1_POS0013"].instances
    masks = dict(zip(cells.ids.tolist(), cells.masks(), strict=True))
    for own, parent, kind in zip(cells.ids.tolist(), cells.column("parent"), cells.column("kind"), strict=True):
        if parent is not None:
            assert kind == "nucleus"
            assert (masks[own] & masks[parent]).sum() >= 0.9 * masks[own].sum()
    assert any(p is not None for p in cells.column("parent"))


def test_marked_colours_are_left_out_of_the_pixels(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    pixels, stored = samples["A9 p10"].image.pixels, pixels_of(only(pristine, "A9 p10d.tif"))
    assert pixels[0].channel in (1, 2)  # the mark is red
    assert stored.ndim == 3


def _outline(root: Path) -> Path:
    return only(root / "BBBC007_v1_outlines" / "f9620", "*_D_*.tif")


def _open(root: Path) -> None:
    line = np.array(pixels_of(_outline(root)))
    resave(_outline(root), np.zeros_like(line))


CASES: dict[str, Case] = {
    "an outline file cut short": (
        lambda r: _outline(r).write_bytes(b"II*\0"),
        "unreadable-mask",
        1,
        cells_of("20P1", kind="nucleus"),
    ),
    "outlines of another size": (lambda r: cropped(_outline(r)), "size-mismatch", 1, cells_of("20P1", kind="nucleus")),
    "a missing outline file": (
        lambda r: _outline(r).unlink(),
        "missing-annotation",
        1,
        cells_of("20P1", kind="nucleus"),
    ),
    "a blank outline file": (_open, "missing-annotation", 0, cells_of("20P1", kind="nucleus")),
    "a missing actin image": (lambda r: only(r / "BBBC007_v1_images", "*_F_*.tif").unlink(), "missing-channel", 1, 0),
    "an image cut short": (lambda r: cut(only(r / "BBBC007_v1_images", "*p10f.tif")), "unreadable-image", 1, 0),
    "outlines without image": (
        lambda r: remove((r / "BBBC007_v1_images" / "f113").iterdir()),
        "missing-image",
        1,
        cells_of("AS_09125"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_becomes_findings_and_the_rest_is_read(pristine: Path, tmp_path: Path, case: str) -> None:
    check_case(NAME, pristine, tmp_path, CASES[case])
