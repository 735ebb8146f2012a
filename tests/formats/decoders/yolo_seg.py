"""Decode what the format yolo-seg writes by its own rules."""

from __future__ import annotations

from pathlib import Path

from celltable.cells import Sample

from . import Masks, inside


def decode(out: Path, samples: list[Sample]) -> Masks:
    sizes = {s.image.image_id: s.image.size for s in samples}
    masks: Masks = {}
    for path in (out / "labels").rglob("*.txt"):
        height, width = sizes[path.stem]
        for line in path.read_text().splitlines():
            numbers = [float(n) for n in line.split()[1:]]
            ring = [[x * width, y * height] for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            masks.setdefault(path.stem, []).append(inside([ring], (height, width)))
    return masks
