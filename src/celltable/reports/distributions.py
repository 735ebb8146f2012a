"""Cell sizes, counts and densities, with bars per published category; several stores side by side."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from celltable.drawing.beside import count_table, legend, share_bars
from celltable.drawing.svg import bars, histogram, ranges
from celltable.plugins.section import Material, Section

OVERLAID: Final = 4  # more curves in one plot are indistinguishable
_SPREAD: Final = "5, 25, 50, 75 and 95 %"
_COUNTED: Final = (
    ("classes", "Cells by class"),
    ("kinds", "Cells by kind"),
    ("tissue", "Images by tissue"),
    ("cell_type", "Images by cell type"),
    ("modality", "Images by modality"),
    ("split", "Images by part"),
    ("labels", "Images by label"),
)


def render(material: Material) -> str:
    """Plot histograms of area, cells per image and density, and bars per category; stores share axes and tables.

    Cells per image and density cover annotated images only: an unannotated image is not empty.
    """
    if material.others:
        return _beside(material)
    images = _annotated(material.images)
    plots = [
        histogram({"": _areas(material.instances)}, title="Cell area", label="px², logarithmic", log=True),
        histogram({"": _counts(images)}, title="Cells per image", label="cells", count="images"),
        histogram({"": _density(images)}, title="Density", label="cells per 10,000 px²", count="images"),
    ]
    first = material.summaries[0]
    plots += [bars(first[key], title=title) for key, title in _COUNTED if len(first[key]) > 1]
    return f'<div class="plots">{"".join(plots)}</div>'


def _beside(material: Material) -> str:
    names = [str(s["name"]) for s in material.summaries]
    tables = [(material.images, material.instances), *((images, cells) for _, images, cells in material.others)]
    labels = _distinct(names)
    images = {name: _annotated(table) for name, (table, _) in zip(labels, tables, strict=True)}
    areas = {name: _areas(cells) for name, (_, cells) in zip(labels, tables, strict=True)}
    counts = {name: _counts(table) for name, table in images.items()}
    density = {name: _density(table) for name, table in images.items()}
    plots = [
        ranges(areas, title="Cell area", label=f"px², logarithmic: {_SPREAD}"),
        ranges(counts, title="Cells per image", label="cells, logarithmic"),
        ranges(density, title="Density", label="cells per 10,000 px², logarithmic"),
    ]
    if len(labels) <= OVERLAID:
        plots.insert(1, histogram(areas, title="Cell area", label="px², logarithmic", log=True))
    made = []
    for key, title in _COUNTED:
        series = {name: s[key] for name, s in zip(labels, material.summaries, strict=True)}
        if len({value for values in series.values() for value in values}) > 1:
            plots.append(share_bars(series, title=f"{title}, share of the store"))
            made.append(f"<h3>{title}</h3>{count_table(series, what=title.rsplit(' ', 1)[1])}")
    return f'{legend(labels)}<div class="plots">{"".join(plots)}</div>{"".join(made)}'


def _distinct(names: list[str]) -> list[str]:
    """Number the names that occur several times."""
    return [n if names.count(n) == 1 else f"{n} {names[: i + 1].count(n)}" for i, n in enumerate(names)]


def _annotated(images: Any) -> Any:
    return images.filter(pc.field("annotated"))


def _areas(cells: Any) -> Any:
    areas = cells.column("area").to_numpy()
    return areas[areas > 0]


def _counts(images: Any) -> Any:
    return images.column("n_instances").to_numpy()


def _density(images: Any) -> Any:
    height, width = images.column("height").to_numpy(), images.column("width").to_numpy()
    return images.column("n_instances").to_numpy() / np.maximum(height.astype(float) * width, 1) * 1e4


SECTION = Section("distributions", "Sizes and counts", 20, render)
