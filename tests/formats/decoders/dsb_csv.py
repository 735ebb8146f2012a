"""Decode what the format dsb-csv writes by its own rules."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from celltable.cells import Sample

from . import Masks


def decode(out: Path, samples: list[Sample]) -> Masks:
    sizes = {s.image.image_id: s.image.size for s in samples}
    masks: Masks = {}
    with out.open(newline="") as file:
        for row in csv.DictReader(file):
            height, width = sizes[row["ImageId"]]
            flat = np.zeros(height * width, bool)
            numbers = [int(n) for n in row["EncodedPixels"].split()]
            for start, length in zip(numbers[::2], numbers[1::2], strict=True):
                flat[start - 1 : start - 1 + length] = True
            masks.setdefault(row["ImageId"], []).append(flat.reshape(width, height).T)
    return masks
