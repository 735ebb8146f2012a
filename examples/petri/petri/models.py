"""A model: connected bright pixels are cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from celltable.cells import Image, Instances
from celltable.plugins import Option
from celltable.plugins.model import Model


def predict(pixels: NDArray[Any], image: Image, *, level: float = 0.5, min_px: float = 9) -> Instances:
    """Predict a cell per connected region above `level` of the range; its score is its mean brightness."""
    plane = pixels.astype(np.float64) if pixels.ndim == 2 else pixels[..., :3].astype(np.float64).max(axis=2)
    spread = float(np.ptp(plane))
    if not spread:
        return Instances.empty((int(plane.shape[0]), int(plane.shape[1])))
    bright = (plane - plane.min()) / spread
    labels, n = ndimage.label(bright > level)
    areas = np.bincount(labels.ravel(), minlength=n + 1)
    kept = areas >= min_px
    kept[0] = False
    labels = (np.cumsum(kept) * kept)[labels].astype(np.int32)
    scores = ndimage.mean(bright, labels, np.arange(1, int(kept.sum()) + 1))
    return Instances.from_label_map(labels, score=np.asarray(scores, np.float64), annotator="bright-pixels")


MODEL = Model(
    name="bright-pixels",
    title="Bright pixels",
    description="Connected pixels above a share of the range of the image.",
    predict=predict,
    options=(
        Option("level", 0.5, "share of the range above which a pixel is bright", low=0, high=1),
        Option("min_px", 9, "area below which a cell is dropped", type=float, low=1, unit="px²"),
    ),
)
