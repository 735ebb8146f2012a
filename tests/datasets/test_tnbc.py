"""TNBC: components of its real masks counted as published, and damaged pairs."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from .releases import Case, cells_of, check_case, cropped, cut, make_example, pixels_of, read_all, resave, rules


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example("tnbc", tmp_path_factory.mktemp("tnbc"))


def _values(path: Path) -> None:
    mask = pixels_of(path)
    resave(path, np.where(mask > 0, 200, 0).astype(np.uint8))


CASES: dict[str, Case] = {
    "a mask is missing": (lambda r: (r / "GT_01/01_1.png").unlink(), "missing-annotation", 1, cells_of("01_1")),
    "a folder of masks is missing": (lambda r: shutil.rmtree(r / "GT_01"), "missing-annotation", 2, cells_of("01_")),
    "an image is missing": (lambda r: (r / "Slide_01/01_1.png").unlink(), "missing-image", 1, cells_of("01_1")),
    "a mask cut short": (lambda r: cut(r / "GT_01/01_1.png"), "unreadable-mask", 1, cells_of("01_1")),
    "an image cut short": (lambda r: cut(r / "Slide_01/01_1.png"), "unreadable-image", 1, cells_of("01_1")),
    "a mask of another size": (lambda r: cropped(r / "GT_01/01_1.png"), "size-mismatch", 1, cells_of("01_1")),
    "a mask of other values": (lambda r: _values(r / "GT_01/01_1.png"), "mask-values", 1, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_pair_is_a_finding_and_the_rest_is_read(case: str, pristine: Path, tmp_path: Path) -> None:
    check_case("tnbc", pristine, tmp_path, CASES[case])


def test_diagonal_pixels_are_one_nucleus_and_specks_are_kept(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / "r"))
    mask = np.zeros((96, 128), np.uint8)
    mask[1, 1] = mask[2, 2] = mask[9, 9] = 255
    resave(root / "GT_01" / "01_1.png", mask)
    samples, _ = read_all("tnbc", root)
    assert sorted(samples["01_1"].instances.area.tolist()) == [1, 2]


@pytest.mark.real
def test_the_real_slides_have_the_published_components(sample: Callable[[str], Path]) -> None:
    samples, findings = read_all("tnbc", sample("tnbc/TNBC_NucleiSegmentation.zip"))
    assert rules(findings) == {}
    cells: Counter[str] = Counter()
    for s in samples.values():
        cells[s.image.metadata["slide"]] += len(s.instances)
        assert (s.image.size, len(s.image.channels)) == ((512, 512), 4)
    assert [cells[f"{k:02d}"] for k in range(1, 8)] == [458, 188, 289, 596, 420, 204, 557]
    assert (len(samples), cells.total()) == (33, 2712)
    assert {s.image.leakage_group for s in samples.values()} == {f"patient {k:02d}" for k in range(1, 8)}
    assert len(samples["04_5"].instances) == 5
    assert all(samples[i].instances.area.min() < 10 for i in ("03_5", "07_3"))
