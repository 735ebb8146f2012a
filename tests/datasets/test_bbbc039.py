"""The reader of BBBC039: reused mask values, official lists, the real sample, and bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from .releases import Case, cells_of, check_case, cropped, cut, make_example, only, pixels_of, read_all, resave

NAME = "bbbc039"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example(NAME, tmp_path_factory.mktemp(NAME))


@pytest.mark.real
def test_the_real_sample_has_the_known_counts(sample: Callable[[str], Path]) -> None:
    samples, findings = read_all(NAME, sample("bbbc039/bbbc039.zip"))
    assert findings == []
    counts = {s.image.metadata["well"]: len(s.instances) for s in samples.values()}
    assert counts == {"A02": 110, "A06": 71, "A09": 156, "A12": 69, "A15": 129}
    assert {(s.image.size, s.image.dtype) for s in samples.values()} == {((520, 696), "uint16")}
    assert max(int(s.instances.area.max()) for s in samples.values()) < 520 * 696 // 20


def test_touching_nuclei_of_different_values_stay_apart(pristine: Path) -> None:
    for stem, sample in read_all(NAME, pristine)[0].items():
        values = pixels_of(pristine / "masks" / f"{stem}.png")[..., 0]
        n = sum(ndimage.label(values == v, np.ones((3, 3)))[1] for v in np.unique(values[values > 0]))
        assert len(sample.instances) == n
        assert len(np.unique(values)) - 1 < n


def test_lists_give_the_split_and_wells_the_group(pristine: Path) -> None:
    samples, findings = read_all(NAME, pristine)
    assert [(s.image.leakage_group, s.image.split) for s in samples.values()] == [
        ("well A02", "train"), ("well A02", "train"), ("well B11", "val"),
    ]  # fmt: skip
    assert [f.rule for f in findings] == ["unknown-image"]


def _mask(root: Path) -> Path:
    return only(root / "masks", "*.png")


def _image(root: Path) -> Path:
    return only(root / "images", "*.tif")


def _paint(root: Path) -> None:
    pixels = pixels_of(_mask(root)).copy()
    pixels[0, 0, 2] = 5
    resave(_mask(root), pixels)


CASES: dict[str, Case] = {
    "a mask cut short": (lambda r: cut(_mask(r)), "unreadable-mask", 1, cells_of("IXMtest_A02_s1")),
    "a mask of another size": (lambda r: cropped(_mask(r)), "size-mismatch", 1, cells_of("IXMtest_A02_s1")),
    "no mask": (lambda r: _mask(r).unlink(), "missing-annotation", 1, cells_of("IXMtest_A02_s1")),
    "no image": (lambda r: _image(r).unlink(), "missing-image", 1, cells_of("IXMtest_A02_s1")),
    "an image that is none": (lambda r: _image(r).write_bytes(b"nothing"), "unreadable-image", 1, 0),
    "data in another channel": (_paint, "data-channel", 1, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_becomes_findings_and_the_rest_is_read(pristine: Path, tmp_path: Path, case: str) -> None:
    check_case(NAME, pristine, tmp_path, CASES[case])
