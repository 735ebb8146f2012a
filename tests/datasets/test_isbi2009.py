"""ISBI 2009: label images against hand-drawn outlines on the real files, and malicious XCF files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from celltable.errors import ImageFileError
from celltable.imagefile.xcf import Layer, pack, read_layers

from .releases import Case, cells_of, check_case, cropped, cut, make_example, read_all, rules

LABELS = "data/preprocessed-data"
OUTLINES = "data/images/segmented-lpc"
IMAGES = "data/images/dna-images"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example("isbi2009", tmp_path_factory.mktemp("isbi"))


L2 = f"{LABELS}/ic100/dna-2.png"
X1 = f"{OUTLINES}/gnf/dna-1.xcf"
CASES: dict[str, Case] = {
    "labels are missing": (lambda r: (r / L2).unlink(), "missing-annotation", 1, cells_of("ic100_02")),
    "outlines are missing": (lambda r: (r / X1).unlink(), "missing-annotation", 1, cells_of("gnf_01")),
    "an image is missing": (
        lambda r: (r / IMAGES / "gnf/dna-0.png").unlink(), "missing-image", 1, cells_of("gnf_00"),
    ),
    "labels cut short": (lambda r: cut(r / L2), "unreadable-mask", 1, cells_of("ic100_02")),
    "labels of another size": (lambda r: cropped(r / L2), "size-mismatch", 1, cells_of("ic100_02")),
    "outlines cut short": (
        lambda r: (r / X1).write_bytes((r / X1).read_bytes()[:300]), "unreadable-mask", 1, cells_of("gnf_01"),
    ),
    "outlines of a later version": (
        lambda r: (r / X1).write_bytes(b"gimp xcf v001\0" + bytes(99)),
        "unreadable-mask", 1, cells_of("gnf_01"),
    ),
    "outlines of another size": (
        lambda r: (r / X1).write_bytes(_file("borders", (9, 9, 4))),
        "missing-outline-layer", 1, cells_of("gnf_01"),
    ),
    "no layer of outlines": (
        lambda r: (r / X1).write_bytes(_file("Background", (90, 100, 3))),
        "missing-outline-layer", 1, cells_of("gnf_01"),
    ),
    "an image cut short": (lambda r: cut(r / IMAGES / "gnf/dna-0.png"), "unreadable-image", 1, cells_of("gnf_00")),
}  # fmt: skip


def _file(name: str, shape: tuple[int, int, int]) -> bytes:
    return pack("x", [Layer(name, (0, 0), np.zeros(shape, np.uint8))], shape[:2])


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_a_finding_and_the_rest_is_read(case: str, pristine: Path, tmp_path: Path) -> None:
    check_case("isbi2009", pristine, tmp_path, CASES[case])


def test_outlines_take_the_place_of_labels_that_cannot_be_read(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    before, _ = read_all("isbi2009", root)
    cut(root / LABELS / "gnf/dna-0.png")
    after, findings = read_all("isbi2009", root)
    assert rules(findings)["unreadable-mask"] == 1
    assert len(after["gnf_00"].instances) == len(before["gnf_00"].instances) > 0


@st.composite
def layers(draw: st.DrawFn) -> list[Layer]:
    found = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(st.tuples(st.integers(1, 140), st.integers(1, 140), st.sampled_from((1, 2, 3, 4))))
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        pixels = rng.integers(0, draw(st.sampled_from((2, 256))), shape).astype(np.uint8)
        offset = draw(st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
        found.append(Layer(draw(st.text("abä ", max_size=9)), offset, pixels))
    return found


@given(layers())
def test_what_is_packed_is_read_back(given_layers: list[Layer]) -> None:
    size, found = read_layers(pack("comment", given_layers, (140, 141)), "a.xcf")
    assert size == (140, 141)
    assert [(x.name, x.offset_xy) for x in found] == [(x.name, x.offset_xy) for x in given_layers]
    for a, b in zip(found, given_layers, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)


WHOLE = pack("c", [Layer("borders", (0, 0), np.arange(70 * 70 * 4).reshape(70, 70, 4).astype(np.uint8))], (70, 70))


def _read_or_refuse(data: bytes) -> None:
    with suppress(ImageFileError):
        read_layers(data, "a.xcf")


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_cut_short_is_refused(length: int) -> None:
    with pytest.raises(ImageFileError):
        read_layers(WHOLE[:length], "a.xcf")


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
@example(14, b"\xff\xff\xff\xff\xff\xff\xff\xff")
def test_a_changed_file_is_read_or_refused_but_never_crashes(at: int, new: bytes) -> None:
    _read_or_refuse(WHOLE[:at] + new + WHOLE[at + len(new) :])


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ImageFileError):
        read_layers(data, "a.xcf")
    _read_or_refuse(b"gimp xcf file\0" + data)


@pytest.mark.real
def test_the_real_files_have_the_published_nuclei_and_one_open_outline(sample: Callable[[str], Path]) -> None:
    samples, findings = read_all("isbi2009", sample("isbi2009/2009_ISBI_2DNuclei_code_data.zip"))
    n = {line: sum(len(s.instances) for i, s in samples.items() if i.startswith(line)) for line in ("gnf", "ic100")}
    assert n == {"gnf": 410, "ic100": 376}
    assert {i for i in samples if i.startswith("gnf")} == {
        f"gnf_{k:02d}" for k in (3, 5, 9, 10, 12, 16, 18, 21, 25, 26, 31)
    }
    assert [(f.rule, f.image_id, f.value) for f in findings if f.rule == "outline-count-differs"] == [
        ("outline-count-differs", "gnf_09", 1.0)
    ]
    assert [f.image_id for f in findings if f.rule == "missing-annotation"] == ["gnf_31"]
    assert not samples["gnf_31"].image.annotated
    assert min(int(s.instances.area.min()) for s in samples.values() if len(s.instances)) >= 35
    sizes = {(i.partition("_")[0], s.image.size) for i, s in samples.items()}
    assert sizes == {("gnf", (1030, 1349)), ("ic100", (1024, 1344))}
