"""The reader of cluster nuclei: contours in pure red, the frame that closes them, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from celltable.datasets.cluster_nuclei import RED

from .releases import Case, cells_of, check_case, cropped, cut, make_example, only, pixels_of, read_all, resave

NAME = "cluster_nuclei"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example(NAME, tmp_path_factory.mktemp(NAME))


def test_nuclei_are_what_the_contours_and_the_frame_enclose(tmp_path: Path) -> None:
    drawing = np.full((40, 40, 3), 200, np.uint8)
    drawing[10:20, 10] = drawing[10:20, 19] = drawing[10, 10:20] = drawing[19, 10:20] = RED  # a square
    drawing[30, 0:9] = drawing[31:40, 8] = RED  # cut by the corner: the frame closes it
    for folder in ("original", "label"):
        (tmp_path / "cluster nuclei" / folder).mkdir(parents=True)
    resave(tmp_path / "cluster nuclei/original/7.bmp", np.full((40, 40, 3), 200, np.uint8))
    resave(tmp_path / "cluster nuclei/label/7(label).bmp", drawing)
    samples, findings = read_all(NAME, tmp_path)
    assert findings == []
    assert samples["7"].instances.area.tolist() == [8 * 8, 7 * 8]


def test_nuclei_equal_those_of_an_independent_labelling(pristine: Path) -> None:
    samples, _ = read_all(NAME, pristine)
    for key, sample in samples.items():
        drawing = pixels_of(pristine / "label" / f"{key}(label).bmp")
        free = np.pad(~(drawing == RED).all(axis=2)[1:-1, 1:-1], 1)
        labels, n = ndimage.label(free)
        sizes = ndimage.sum_labels(free, labels, range(1, n + 1))
        assert sorted(sample.instances.area.tolist()) == sorted(s for s in sizes if 5 <= s < sizes.max())


def _repaint(root: Path) -> None:
    path = only(root, "1(label).bmp")
    pixels = pixels_of(path).copy()
    pixels[(pixels == RED).all(axis=2)] = (230, 10, 10)
    resave(path, pixels)


CASES: dict[str, Case] = {
    "an image cut short": (lambda r: cut(only(r, "original/2.mid.bmp")), "unreadable-image", 1, 0),
    "a label cut short": (lambda r: cut(only(r, "1(label).bmp")), "unreadable-mask", 1, cells_of("1")),
    "a label of another size": (lambda r: cropped(only(r, "1(label).bmp")), "size-mismatch", 1, cells_of("1")),
    "an image without label": (lambda r: only(r, "1(label).bmp").unlink(), "missing-annotation", 1, cells_of("1")),
    "a label without image": (lambda r: only(r, "original/1.png").unlink(), "missing-image", 1, cells_of("1")),
    "contours that are not quite red": (_repaint, "near-red", 1, cells_of("1")),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_becomes_findings_and_the_rest_is_read(pristine: Path, tmp_path: Path, case: str) -> None:
    check_case(NAME, pristine, tmp_path, CASES[case])
