"""ImageMask-PanNuke: how versions are distinguished and colours assigned, and damaged pairs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable.datasets.pannuke_imagemask import assign
from celltable.errors import InputError
from celltable.notation.pannuke import CLASS_NAMES, PALETTES

from .releases import Case, cells_of, check_case, cropped, cut, make_example, pixels_of, read_all, resave, rules

IMAGE, MASK = "train/images/10040.png", "train/masks/10040.png"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example("pannuke_imagemask", tmp_path_factory.mktemp("imagemask"))


CASES: dict[str, Case] = {
    "a mask is missing": (lambda r: (r / MASK).unlink(), "missing-annotation", 1, cells_of("10040")),
    "a folder of masks is missing": (
        lambda r: shutil.rmtree(r / "train/masks"),
        "missing-annotation",
        1,
        cells_of("10040"),
    ),
    "an image is missing": (lambda r: (r / IMAGE).unlink(), "missing-image", 1, cells_of("10040")),
    "a mask cut short": (lambda r: cut(r / MASK), "unreadable-mask", 1, cells_of("10040")),
    "an image cut short": (lambda r: cut(r / IMAGE), "unreadable-image", 1, cells_of("10040")),
    "a mask of another size": (lambda r: cropped(r / MASK), "size-mismatch", 1, cells_of("10040")),
    "a mask without colour": (
        lambda r: resave(r / MASK, pixels_of(r / MASK)[..., 0]),
        "mask-shape",
        1,
        cells_of("10040"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_pair_is_a_finding_and_the_rest_is_read(case: str, pristine: Path, tmp_path: Path) -> None:
    check_case("pannuke_imagemask", pristine, tmp_path, CASES[case])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_each_colour_is_its_class_and_blends_have_no_class(version: str) -> None:
    colours = PALETTES[version]
    row = np.array([[(0, 0, 0), *colours.values(), (127, 127, 127)]], np.uint8)
    classes, blended = assign(row, version)
    assert classes.tolist() == [[0, *(CLASS_NAMES.index(name) + 1 for name in colours), 0]]
    assert blended == 1
    noisy = np.clip(row[:, :-1].astype(int) + 20, 0, 255).astype(np.uint8)  # JPEG artefacts in pure colours
    assert assign(noisy, version)[0].tolist() == [classes.tolist()[0][:-1]]


def test_the_version_must_be_given_for_a_folder_that_does_not_name_it(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / "data"))
    with pytest.raises(InputError, match="--part v1 or --part v2"):
        read_all("pannuke_imagemask", root)
    requested, _ = read_all("pannuke_imagemask", root, ("v2",))
    known, _ = read_all("pannuke_imagemask", pristine)
    assert [list(s.instances.rle) for s in requested.values()] == [list(s.instances.rle) for s in known.values()]


def test_red_and_blue_are_swapped_back(pristine: Path) -> None:
    samples, findings = read_all("pannuke_imagemask", pristine)
    np.testing.assert_array_equal(samples["10040"].pixels(), pixels_of(pristine / IMAGE)[..., ::-1])
    assert rules(findings)["red-blue-swapped"] == len(samples)


@pytest.mark.real
def test_the_real_pairs_are_version_2_without_neoplastic_nuclei(sample: Callable[[str], Path]) -> None:
    samples, findings = read_all(
        "pannuke_imagemask", sample("pannuke_imagemask/PanNuke-ImageMask-Dataset-V2-mini_test.zip")
    )
    numbers = ["10040", "10050", "10059", "10065", "10069", "10075", "10077", "10133", "11027", "11039"]
    assert list(samples) == numbers
    assert {s.image.metadata["version"] for s in samples.values()} == {"v2"}
    assert [s.image.metadata["row"] for s in samples.values()] == [str(int(n) - 10001) for n in numbers]
    assert "Neoplastic" not in {c for s in samples.values() for c in s.instances.column("class_name")}
    assert (rules(findings)["class-unavailable"], rules(findings)["unassigned-pixels"]) == (10, 10)
    assert {s.image.size for s in samples.values()} == {(512, 512)}
    assert not any(s.image.exhaustive for s in samples.values())
    assert {s.image.leakage_group for s in samples.values()} == {"fold1"}


def test_pixels_of_a_colour_outside_the_palette_are_counted(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))

    def unassigned() -> float:
        findings = [f for f in read_all("pannuke_imagemask", root)[1] if f.rule == "unassigned-pixels"]
        return sum(f.value or 0 for f in findings if f.image_id == "10040")

    before = unassigned()
    mask = pixels_of(root / MASK).copy()
    mask[:20, :20] = (9, 99, 60)
    resave(root / MASK, mask)
    assert before < unassigned() <= before + 400
