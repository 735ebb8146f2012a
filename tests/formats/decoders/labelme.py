"""Decode what the format labelme writes by its own rules."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from celltable.cells import Sample

from . import Mask, Masks, inside


def decode(out: Path, samples: list[Sample]) -> Masks:
    masks: Masks = {}
    for path in out.glob("*.json"):
        page = json.loads(path.read_text())
        size = (page["imageHeight"], page["imageWidth"])
        groups: dict[Any, Mask] = {}
        for shape in page["shapes"]:
            if shape["shape_type"] == "mask":
                (x0, y0), (x1, y1) = (map(int, point) for point in shape["points"])
                drawn = np.zeros(size, bool)
                patch = np.array(Picture.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
                assert patch.shape == (y1 - y0 + 1, x1 - x0 + 1)
                drawn[y0 : y1 + 1, x0 : x1 + 1] = patch
            else:
                drawn = inside([shape["points"]], size)
            groups[shape["group_id"]] = groups.get(shape["group_id"], np.zeros(size, bool)) | drawn
        masks[path.stem] = [groups[k] for k in sorted(groups)]
    return masks
