"""Decode what the format hpa-submission writes by its own rules."""

from __future__ import annotations

import base64
import csv
import zlib
from pathlib import Path
from typing import Any

from pycocotools import mask as coco_mask

from celltable.cells import Sample

from . import Masks


def decode(out: Path, samples: list[Sample]) -> Masks:
    masks: Masks = {}
    with out.open(newline="") as file:
        for row in csv.DictReader(file):
            words = row["PredictionString"].split()
            for packed in words[2::3]:
                counts = zlib.decompress(base64.b64decode(packed))
                rle: Any = {"size": [int(row["ImageHeight"]), int(row["ImageWidth"])], "counts": counts}
                masks.setdefault(row["ID"], []).append(coco_mask.decode(rle).astype(bool))
    return masks
