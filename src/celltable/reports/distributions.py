"""How large, how many and how dense the cells are, by what they were published with."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Material, Section
from ._svg import bars, histogram, ranges

OVERLAID = 4  # more curves than this in one plot cannot be told apart

_COUNTED = (
    ("modality", "Images by modality"),
    ("tissue", "Images by tissue"),
    ("cell_type", "Images by cell type"),
    ("split", "Images by part"),
)


def render(material: Material) -> str:
    """Histograms of area, cells an image and density (several stores overlaid), bars of the categories."""
    stores = [(str(material.summaries[0]["name"]), material.images, material.instances), *material.others]
    areas = {name: cells.column("area").to_numpy() for name, _, cells in stores}
    counts = {name: images.column("n_instances").to_numpy() for name, images, _ in stores}
    density = {name: _density(images) for name, images, _ in stores}
    if len(stores) > OVERLAID:
        plots = [
            ranges(areas, title="Cell area", label="px², logarithmic: 5 to 95 %, 25 to 75 %, median"),
            ranges(counts, title="Cells an image", label="cells, logarithmic"),
            ranges(density, title="Density", label="cells per 10,000 px², logarithmic"),
        ]
    else:
        plots = [
            histogram({k: v[v > 0] for k, v in areas.items()}, title="Cell area", label="px², logarithmic", log=True),
            histogram(counts, title="Cells an image", label="cells", count="images"),
            histogram(density, title="Density", label="cells per 10,000 px²", count="images"),
        ]
    first = material.summaries[0]
    plots += [bars(first[key], title=title) for key, title in _COUNTED if len(first[key]) > 1]
    for key, title in (("classes", "Cells by class"), ("kinds", "Cells by kind"), ("labels", "Images by label")):
        if len(first[key]) > 1:
            plots.append(bars(first[key], title=title))
    return f'<div class="plots">{"".join(plots)}</div>'


def _density(images: Any) -> Any:
    height, width = images.column("height").to_numpy(), images.column("width").to_numpy()
    return images.column("n_instances").to_numpy() / np.maximum(height.astype(float) * width, 1) * 1e4


SECTION = Section("distributions", "Sizes and counts", 20, render)
