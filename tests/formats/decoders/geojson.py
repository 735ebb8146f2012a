"""Decode what the format geojson writes by its own rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from celltable.cells import Sample

from . import Masks, inside


def decode(out: Path, samples: list[Sample]) -> Masks:
    masks: Masks = {}
    for path in out.glob("*.geojson"):
        page = json.loads(path.read_text())
        size = (page["celltable"]["height"], page["celltable"]["width"])
        for feature in page["features"]:
            shape = feature["geometry"]
            several = shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
            for rings in several:
                assert all(ring[0] == ring[-1] for ring in rings), "RFC 7946: rings are closed"
            drawn = np.any([inside([ring[:-1] for ring in rings], size) for rings in several], axis=0)
            masks.setdefault(path.stem, []).append(drawn)
    return masks
