"""HPA single cells: quartets, weak labels and predicted masks of the real sample, and what damaged ones become."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable.records import Sample

from .releases import Case, check_case, cropped, cut, make_example, only, pixels_of, read_all, resave, rules


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with its archives unpacked."""
    root = make_example("hpa_single_cell", tmp_path_factory.mktemp("hpa"))
    for archive in sorted(root.glob("*.zip")):
        shutil.unpack_archive(archive, root / archive.stem)
        archive.unlink()
    return root


def _id(root: Path) -> str:
    return only(root, "*_predictedmask.png").name.partition("_")[0]


def channel(role: str) -> Callable[[Path], Path]:
    return lambda root: only(root, f"{_id(root)}_{role}.png")


def _mask(root: Path) -> Path:
    return only(root, "*_predictedmask.png")


def _labels(old: str, new: str) -> Callable[[Path], object]:
    def spoil(root: Path) -> None:
        text = (root / "train.csv").read_text()
        assert old in text
        (root / "train.csv").write_text(text.replace(old, new, 1))

    return spoil


def _full(path: Path) -> None:
    mask = pixels_of(path)
    mask[mask == 1] = 255
    resave(path, mask)


def _deep(path: Path) -> None:
    resave(path, pixels_of(path).astype(np.uint16) * 257)


def _of_first(samples: dict[str, Sample]) -> int:
    """The cells of the first image that has some."""
    return next(len(s.instances) for _, s in sorted(samples.items()) if len(s.instances))


CASES: dict[str, Case] = {
    "no red": (lambda r: channel("red")(r).unlink(), "missing-channel", 1, 0),
    "no blue": (lambda r: channel("blue")(r).unlink(), "missing-channel", 1, 0),
    "an empty green": (lambda r: channel("green")(r).write_bytes(b""), "unreadable-channel", 1, 0),
    "an empty blue": (lambda r: channel("blue")(r).write_bytes(b""), "unreadable-channel", 1, 0),
    "a smaller yellow": (lambda r: cropped(channel("yellow")(r)), "channel-mismatch", 1, 0),
    "a deeper yellow": (lambda r: _deep(channel("yellow")(r)), "channel-mismatch", 1, 0),
    "a class that does not exist": (_labels("8|5|0", "8|19|0"), "label-invalid", 1, 0),
    "a class that is no number": (_labels("8|5|0", "8|five"), "label-invalid", 1, 0),
    "an empty label": (_labels("8|5|0", ""), "label-invalid", 1, 0),
    "a mask cut short": (lambda r: cut(_mask(r)), "unreadable-mask", 1, _of_first),
    "a mask of another size": (lambda r: cropped(_mask(r)), "size-mismatch", 1, _of_first),
    "a mask that wrapped": (lambda r: _full(_mask(r)), "mask-wrap", 1, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_a_finding_and_the_rest_is_read(case: str, pristine: Path, tmp_path: Path) -> None:
    check_case("hpa_single_cell", pristine, tmp_path, CASES[case])


def test_labels_are_of_the_image_in_their_order_and_never_of_cells(pristine: Path) -> None:
    samples, _ = read_all("hpa_single_cell", pristine)
    first = samples[_id(pristine)]
    assert first.image.labels == ("Intermediate filaments", "Nuclear bodies", "Nucleoplasm")
    assert first.image.metadata["label_ids"] == "8|5|0"
    assert all(c is None for s in samples.values() for c in s.instances.column("class_name"))


def test_a_table_with_byte_order_mark_and_windows_line_ends_reads_the_same(pristine: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    (root / "train.csv").write_bytes(b"\xef\xbb\xbf" + (root / "train.csv").read_bytes().replace(b"\n", b"\r\n"))
    before, after = (read_all("hpa_single_cell", p) for p in (pristine, root))
    assert [s.image.labels for s in after[0].values()] == [s.image.labels for s in before[0].values()]
    assert rules(after[1]) == rules(before[1])


@pytest.mark.real
def test_the_real_quartets_have_their_labels(sample: Callable[[str], Path]) -> None:
    samples, findings = read_all("hpa_single_cell", sample("hpa/hpa-single-cell-image-classification"))
    assert {i[:8]: s.image.metadata["label_ids"] for i, s in samples.items()} == {
        "000a6c98": "7|1|2|0", "5c27f04c": "8|5|0", "94e33c64": "9|16|13", "b6a469d8": "11",
    }  # fmt: skip
    assert {(s.image.size, s.image.dtype, len(s.image.channels)) for s in samples.values()} == {
        ((2048, 2048), "uint8", 4)
    }
    assert [f.value for f in findings if f.rule == "label-without-image"] == [21_806.0 - 4]
    assert rules(findings) == {"label-without-image": 1}


@pytest.mark.real
def test_the_real_predicted_masks_have_their_cells(sample: Callable[[str], Path], tmp_path: Path) -> None:
    root = tmp_path / "hpa"
    root.mkdir()
    for name in ("hpa-single-cell-image-classification/train.zip", "cell_masks_predicted.zip"):
        (root / Path(name).name).symlink_to(sample(f"hpa/{name}"))
    samples, findings = read_all("hpa_single_cell", root)
    assert {i[:8]: len(s.instances) for i, s in samples.items()} == {
        "000a6c98": 19, "5c27f04c": 8, "94e33c64": 17, "b6a469d8": 10,
    }  # fmt: skip
    assert rules(findings)["predicted-masks"] == 4
    assert not any(s.image.exhaustive for s in samples.values())
