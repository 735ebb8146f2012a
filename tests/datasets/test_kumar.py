"""Kumar and MoNuSeg: regions of the real XML counted, and damaged or hostile documents."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .releases import Case, cells_of, check_case, cut, make_example, read_all, rules

A = "TCGA-21-5784-01Z-00-DX1"
BENCHMARK = "nucleisegmentationbenchmark"
B = "TCGA-NH-A8F7-01A-01-TS1"
BOMB = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;">]><Annotations>&y;</Annotations>'
LEAK = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Annotations>&x;</Annotations>'

VERTEX = '<Vertex X="1" Y="9"/>'


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example("kumar", tmp_path_factory.mktemp("kumar"))


def xml(root: Path, stem: str = A) -> Path:
    return root / BENCHMARK / "Annotations" / f"{stem}.xml"


def tif(root: Path, stem: str = A) -> Path:
    return root / BENCHMARK / "Tissue images" / f"{stem}.tif"


def _replace(old: str, new: str) -> Callable[[Path], object]:
    def spoil(root: Path) -> None:
        text = xml(root).read_text()
        assert old in text
        xml(root).write_text(text.replace(old, new, 1))

    return spoil


CASES: dict[str, Case] = {
    "a document is missing": (lambda r: xml(r).unlink(), "missing-annotation", 1, cells_of(A)),
    "all documents are missing": (lambda r: shutil.rmtree(xml(r).parent), "missing-annotation", 2, cells_of(A, B)),
    "an image is missing": (lambda r: tif(r).unlink(), "missing-image", 1, cells_of(A)),
    "an image cut short": (lambda r: cut(tif(r)), "unreadable-image", 1, cells_of(A)),
    "a document cut short": (lambda r: cut(xml(r)), "unreadable-annotations", 1, cells_of(A)),
    "an empty document": (lambda r: xml(r).write_text(""), "unreadable-annotations", 1, cells_of(A)),
    "entities": (lambda r: xml(r).write_text(BOMB), "unreadable-annotations", 1, cells_of(A)),
    "an entity of another file": (lambda r: xml(r).write_text(LEAK), "unreadable-annotations", 1, cells_of(A)),
    "no scale": (_replace(' MicronsPerPixel="0.252"', ""), "missing-scale", 1, 0),
    "a region of two vertices": (
        _replace("</Regions>", f'<Region Id="9"><Vertices>{2 * VERTEX}</Vertices></Region></Regions>'),
        "invalid-segmentation", 1, 0,
    ),
    "a region without vertices": (
        _replace("</Regions>", '<Region Id="9"><Vertices></Vertices></Region></Regions>'), "invalid-segmentation", 1, 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_bad_pair_is_a_finding_and_the_rest_is_read(case: str, pristine: Path, tmp_path: Path) -> None:
    check_case("kumar", pristine, tmp_path, CASES[case])


def test_a_negative_region_is_a_nucleus_and_subtracts_nothing(pristine: Path) -> None:
    samples, findings = read_all("kumar", pristine)
    assert rules(findings)["negative-roa"] == 3
    for stem in (A, B):
        regions = xml(pristine, stem).read_text().count("<Region ")
        assert len(samples[stem].instances) == regions - 1  # one has two vertices


def test_line_colour_and_windows_line_ends_do_not_matter(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    before, _ = read_all("kumar", pristine)
    text = xml(root).read_text().replace("65280", "255").replace(">", ">\r\n")
    xml(root).write_bytes(b"\xef\xbb\xbf" + text.encode())
    after, _ = read_all("kumar", root)
    assert list(after[A].instances.rle) == list(before[A].instances.rle)


@pytest.mark.parametrize(
    ("folder", "part", "split"),
    [("MoNuSeg 2018 Training Data", "monuseg_train", "train"), ("MoNuSegTestData", "monuseg_test", "test")],
)
def test_monuseg_is_recognised_by_its_folder(
    folder: str, part: str, split: str, pristine: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(pristine / BENCHMARK, tmp_path / folder))
    (root / "Tissue images").rename(root / "Tissue Images")
    samples, _ = read_all("kumar", root, (part,))
    assert [(s.image.metadata["part"], s.image.split) for s in samples.values()] == [(part, split)] * 2


@pytest.mark.real
def test_the_real_documents_have_the_published_regions(sample: Callable[[str], Path]) -> None:
    samples, findings = read_all("kumar", sample("kumar/nucleisegmentationbenchmark.zip"))
    counted = {i: len(s.instances) for i, s in samples.items()}
    assert counted == {A: 398, "TCGA-50-5931-01Z-00-DX1": 444, B: 363}
    assert rules(findings)["invalid-segmentation"] == 1
    assert [f.image_id for f in findings if f.rule == "missing-scale"] == [B]
    assert rules(findings)["outside-image"] > 0
    assert {s.image.size for s in samples.values()} == {(1000, 1000)}
    assert {i[5:12]: s.image.tissue for i, s in samples.items()} == {
        "21-5784": "Liver", "50-5931": "Liver", "NH-A8F7": "Colon",
    }  # fmt: skip
    assert samples[B].image.leakage_group == "TCGA-NH-A8F7"
