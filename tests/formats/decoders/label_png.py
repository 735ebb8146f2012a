"""Decode what the format label-png writes by its own rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from celltable.cells import Sample

from . import Maps


def decode(out: Path, samples: list[Sample]) -> Maps:
    return {p.stem: np.array(Picture.open(p)) for p in out.glob("*.png")}
