"""Decode what the format hf-parquet writes by its own rules."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image as Picture
from pycocotools import mask as coco_mask

from celltable.cells import Sample

from . import Masks


def decode(out: Path, samples: list[Sample]) -> Masks:
    masks: Masks = {}
    for path in [out] if out.is_file() else out.rglob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            size = [row["height"], row["width"]]
            picture = np.array(Picture.open(io.BytesIO(row["image"]["bytes"])))
            assert list(picture.shape[:2]) == size
            rles: list[Any] = [{"size": size, "counts": c["rle"]} for c in row["cells"]]
            masks[row["image_id"]] = [coco_mask.decode(r).astype(bool) for r in rles]
    return masks
