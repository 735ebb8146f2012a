"""Decode what the format mask-folder writes by its own rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from celltable.cells import Sample

from . import Masks


def decode(out: Path, samples: list[Sample]) -> Masks:
    return {
        folder.name: [
            np.array(Picture.open(p)) > 0 for p in sorted((folder / "masks").iterdir(), key=lambda p: int(p.stem))
        ]
        for folder in out.iterdir()
    }
