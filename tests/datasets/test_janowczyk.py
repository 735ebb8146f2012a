"""Janowczyk: partial masks stay partial, and damaged pairs become findings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from .releases import Case, cells_of, check_case, cropped, cut, make_example, read_all, resave

FIRST = "12750_500_f00003"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example("janowczyk", tmp_path_factory.mktemp("janowczyk"))


CASES: dict[str, Case] = {
    "a mask is missing": (lambda r: (r / f"{FIRST}_mask.png").unlink(), "missing-annotation", 1, cells_of(FIRST)),
    "an image is missing": (lambda r: (r / f"{FIRST}_original.tif").unlink(), "missing-image", 1, cells_of(FIRST)),
    "a mask cut short": (lambda r: cut(r / f"{FIRST}_mask.png"), "unreadable-mask", 1, cells_of(FIRST)),
    "an image cut short": (lambda r: cut(r / f"{FIRST}_original.tif"), "unreadable-image", 1, cells_of(FIRST)),
    "a mask of another size": (lambda r: cropped(r / f"{FIRST}_mask.png"), "size-mismatch", 1, cells_of(FIRST)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_pair_is_a_finding_and_the_rest_is_read(case: str, pristine: Path, tmp_path: Path) -> None:
    check_case("janowczyk", pristine, tmp_path, CASES[case])


def test_annotation_is_marked_as_partial(pristine: Path) -> None:
    samples, findings = read_all("janowczyk", pristine)
    assert not any(s.image.exhaustive for s in samples.values())
    labelled = {i for i, s in samples.items() if s.image.annotated}
    assert {f.image_id for f in findings if f.rule == "partial-annotation"} == labelled
    assert {i: s.image.leakage_group for i, s in samples.items()} == {
        i: f"patient {i.partition('_')[0]}" for i in samples
    }


def test_any_value_but_zero_is_nucleus_also_in_colour(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / "nuclei"))
    mask = np.zeros((120, 110, 3), np.uint8)
    mask[2:5, 2:4, 2], mask[50:52, 50:52, 0] = 1, 255
    resave(root / f"{FIRST}_mask.png", mask)
    samples, _ = read_all("janowczyk", root)
    assert sorted(samples[FIRST].instances.area.tolist()) == [4, 6]
