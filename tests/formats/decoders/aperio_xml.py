"""Decode what the format aperio-xml writes by its own rules."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from celltable.cells import Sample

from . import Masks, inside


def decode(out: Path, samples: list[Sample]) -> Masks:
    sizes = {s.image.image_id: s.image.size for s in samples}
    masks: Masks = {}
    for path in (out / "Annotations").glob("*.xml"):
        regions = sorted(ET.parse(path).iter("Region"), key=lambda region: int(region.attrib["Id"]))
        for region in regions:
            ring = [[float(v.attrib["X"]), float(v.attrib["Y"])] for v in region.iter("Vertex")]
            masks.setdefault(path.stem, []).append(inside([ring], sizes[path.stem]))
    return masks
