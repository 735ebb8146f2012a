"""Files given to evaluate: what cannot be read is an error or a note, never a silent zero."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import celltable as ct
from celltable.errors import CelltableError
from celltable.geometry import rle

MAP = np.zeros((12, 16), np.int32)
MAP[1:5, 1:5], MAP[6:10, 8:14] = 1, 2


def folder(at: Path, **maps: NDArray[Any]) -> Path:
    at.mkdir()
    for name, array in maps.items():
        tifffile.imwrite(at / f"{name}.tif", array)
    return at


BAD = {
    "the label map is 12 × 10, the image 12 × 16": MAP[:, :10],
    "labels are not whole numbers": MAP * np.float32(0.5),
    "pixels hold labels below 0": -MAP,
    "expected one plane of labels": np.stack([MAP, MAP * 2, MAP * 3], -1).astype(np.uint8),
}


@pytest.mark.parametrize("said", BAD)
def test_a_predicted_map_that_is_not_a_label_map_is_an_error_or_counts_as_empty(said: str, tmp_path: Path) -> None:
    gt, pred = folder(tmp_path / "gt", a=MAP, b=MAP), folder(tmp_path / "pred", a=MAP, b=BAD[said])
    with pytest.raises(
        CelltableError, match=f"pred, predictions: 1 of 2 images cannot be scored, the first b: .*{said}"
    ):
        ct.evaluate(gt, pred, "ap_dsb2018")
    found = ct.evaluate(gt, pred, "mae", missing="empty")
    assert any(said in note for note in found.notes)


def test_a_ground_truth_that_cannot_be_read_is_always_an_error(tmp_path: Path) -> None:
    gt, pred = folder(tmp_path / "gt", a=MAP, b=MAP * np.float32(0.5)), folder(tmp_path / "pred", a=MAP, b=MAP)
    with pytest.raises(CelltableError, match="gt, ground truth: 1 of 2 images cannot be scored, the first b"):
        ct.evaluate(gt, pred, "ap_dsb2018", missing="empty")


def coco(at: Path, ids: tuple[int, int]) -> Path:
    masks = [rle.encode(k == MAP).decode() for k in (1, 2)]
    cells = [
        {"id": i, "image_id": 1, "category_id": 1, "segmentation": {"size": [12, 16], "counts": m}, "iscrowd": 0}
        for i, m in zip(ids, masks, strict=True)
    ]
    images = [{"id": 1, "file_name": "a.tif", "height": 12, "width": 16}]
    at.write_text(json.dumps({"images": images, "categories": [{"id": 1, "name": "cell"}], "annotations": cells}))
    return at


def test_ids_that_occur_twice_in_the_ground_truth_are_reported(tmp_path: Path) -> None:
    twice, once = coco(tmp_path / "twice.json", (5, 5)), coco(tmp_path / "once.json", (5, 6))
    assert any("repeat the id" in n for n in ct.evaluate(twice, once, "mae").notes)
    assert not ct.evaluate(once, once, "mae").notes


def saved(at: Path, array: NDArray[Any]) -> Path:
    at.parent.mkdir(exist_ok=True)
    np.save(at, array)
    return at


def test_arrays_on_disk_score_as_in_memory(tmp_path: Path) -> None:
    other = np.roll(MAP, 1, axis=0)
    gt, pred = saved(tmp_path / "gt.npy", MAP), saved(tmp_path / "pred.npy", other)
    found = ct.evaluate(gt, str(pred), "ap_dsb2018")["ap_dsb2018"].value
    assert (
        found == ct.evaluate(MAP, other, "ap_dsb2018")["ap_dsb2018"].value == pytest.approx(0.2)
    )  # IoU 0.6: over 0.5 and 0.55 of ten


def test_pannukes_masks_may_be_named_as_files_against_files_of_any_name(tmp_path: Path) -> None:
    stack = np.zeros((2, 12, 16, 6))
    stack[..., 0], stack[..., 2] = np.where(MAP == 1, 1, 0), np.where(MAP == 2, 2, 0)
    gt = saved(tmp_path / "gt" / "masks.npy", stack)
    for pred in (saved(tmp_path / "pred" / "masks.npy", stack), saved(tmp_path / "pred.npy", stack)):
        assert ct.evaluate(gt, pred, "pq_pannuke")["pq_pannuke"].fields["Average mPQ"] == pytest.approx(1, abs=1e-5)


def test_an_array_file_against_something_else_or_of_objects_is_an_error(tmp_path: Path) -> None:
    gt, folders = saved(tmp_path / "gt.npy", MAP), folder(tmp_path / "pred", a=MAP)
    with pytest.raises(CelltableError, match=r"gt.npy: found an array that names no images; expected another \.npy"):
        ct.evaluate(gt, folders, "ap_dsb2018")
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"no array")
    with pytest.raises(CelltableError, match=r"broken.npy: .*; expected an \.npy of label maps"):
        ct.evaluate(gt, broken, "ap_dsb2018")


def test_results_without_a_prediction_are_empty_predictions_of_every_image(tmp_path: Path) -> None:
    gt, nothing = coco(tmp_path / "gt.json", (5, 6)), tmp_path / "results.json"
    nothing.write_text("[ ]\n")
    with pytest.raises(CelltableError, match="1 of 1 images have no prediction: a"):
        ct.evaluate(gt, nothing, "ap_coco")
    found = ct.evaluate(gt, nothing, ["ap_coco", "mae"], missing="empty")
    assert {name: score.value for name, score in found.items()} == {"ap_coco": 0.0, "mae": 2.0}
