"""HPA submissions: byte-equal rewriting, packed masks, and invalid strings."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError
from celltable.formats import hpa_submission


@pytest.mark.real
def test_the_published_sample_submission_is_written_again_byte_for_byte(
    sample: Callable[[str], Path], tmp_path: Path
) -> None:
    path = sample("hpa/hpa-single-cell-image-classification/sample_submission.csv")
    found = list(hpa_submission.read(path))
    assert len(found) == 559
    assert all(len(s.instances) == 0 and not s.findings for s in found)
    hpa_submission.write(found, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def text_of(mask: NDArray[Any]) -> str:
    """Pack a mask as in the competition's own example."""
    counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return base64.b64encode(zlib.compress(counts, zlib.Z_BEST_COMPRESSION)).decode()


def row(folder: Path, prediction: str, header: str = "ID,ImageWidth,ImageHeight,PredictionString") -> Path:
    path = folder / "s.csv"
    path.write_text(f"{header}\nx,6,4,{prediction}\n")
    return path


MASK = np.zeros((4, 6), bool)
MASK[1:3, 2:5] = True


def test_one_mask_under_two_classes_is_one_cell_of_two_classes(tmp_path: Path) -> None:
    packed = text_of(MASK)
    (found,) = hpa_submission.read(row(tmp_path, f"0 0.9 {packed} 16 0.4 {packed} 3 0.5 {text_of(~MASK)}"))
    cells = found.instances
    assert cells.column("class_name") == ["Nucleoplasm", "Nucleoli fibrillar center"]
    assert cells.column("class_names") == [["Nucleoplasm", "Cytosol"], None]
    assert cells.column("class_scores")[0] == [0.9, 0.4]
    assert cells.column("score") == [0.9, 0.5]
    assert np.array_equal(cells.masks()[0], MASK)
    assert found.image.size == (4, 6)


def test_the_b_quotes_that_python_leaves_are_stripped_and_imageid_is_taken(tmp_path: Path) -> None:
    header = "ImageID,ImageWidth,ImageHeight,PredictionString"
    (found,) = hpa_submission.read(row(tmp_path, f"2 1 b'{text_of(MASK)}'", header))
    assert np.array_equal(found.instances.masks()[0], MASK)


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        ("0 1", "triples"),
        ("99 1 {good}", "class '99'"),
        ("x 1 {good}", "class 'x'"),
        ("0 nan {good}", "confidence"),
        ("0 1 !!!", "not a packed mask"),
        ("0 1 aGVsbG8=", "not a packed mask"),
        ("0 1 {short}", "truncated"),
        ("0 1 {other_size}", "triple 1"),
    ],
)
def test_a_triple_that_cannot_be_read_is_a_finding_and_the_next_is_read(
    tmp_path: Path, prediction: str, said: str
) -> None:
    good = text_of(MASK)
    short = base64.b64encode(base64.b64decode(good)[:-5]).decode()
    bad = prediction.format(good=good, short=short, other_size=text_of(np.ones((9, 9))))
    path = row(tmp_path, f"1 0.5 {good} {bad}" if said == "triples" else f"{bad} 1 0.5 {text_of(~MASK)}")
    (found,) = hpa_submission.read(path)
    assert len(found.instances) == 1
    assert [f.rule for f in found.findings] == ["invalid-segmentation"]
    assert said in found.findings[0].message


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    bomb = base64.b64encode(zlib.compress(b"0" * (1 << 26))).decode()
    (found,) = hpa_submission.read(row(tmp_path, f"0 1 {bomb}"))
    assert "too large" in found.findings[0].message


def test_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected ID"):
        list(hpa_submission.read(row(tmp_path, "", "a,b,c,d")))


def test_cells_without_class_or_score_get_the_default_and_are_reported(tmp_path: Path) -> None:
    sample = Sample(Image("x", 4, 6), Instances.from_masks([MASK], (4, 6), kind="cell"))
    loss = hpa_submission.write([sample], tmp_path / "o.csv", default_class=5)
    assert (tmp_path / "o.csv").read_text().splitlines()[1].startswith("x,6,4,5 1 ")
    assert dict(loss.items) == {
        "classes: cells without a class given one": 1,
        "scores: cells without a score given 1": 1,
    }


def test_locations_of_the_atlas_are_written_as_the_class_that_contains_them_and_reported(tmp_path: Path) -> None:
    names = ["Peroxisomes", "Cytosol", "Midbody", "cell junctions", "16"]
    cells = Instances.from_masks([MASK] * 5, (4, 6), kind="cell").with_columns(class_name=names, score=[0.5] * 5)
    loss = hpa_submission.write([Sample(Image("x", 4, 6), cells)], tmp_path / "o.csv")
    tokens = (tmp_path / "o.csv").read_text().splitlines()[1].split(",")[3].split()
    assert tokens[::3] == ["17", "16", "18", "13", "16"]
    assert dict(loss.items) == {
        "classes: cells whose class was dropped": 1,
        "classes: cells whose location is written as the class that includes it": 2,
    }
