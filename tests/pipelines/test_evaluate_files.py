"""Files given to evaluate: what cannot be read is an error or counted aloud, and never a silent zero."""

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
def test_a_predicted_map_that_is_none_is_an_error_or_counted_as_empty(said: str, tmp_path: Path) -> None:
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


def test_ids_that_occur_twice_in_the_ground_truth_are_said_aloud(tmp_path: Path) -> None:
    twice, once = coco(tmp_path / "twice.json", (5, 5)), coco(tmp_path / "once.json", (5, 6))
    assert any("repeat the id" in n for n in ct.evaluate(twice, once, "mae").notes)
    assert not ct.evaluate(once, once, "mae").notes
