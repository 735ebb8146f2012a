"""Pictures of each type of image with its annotations, coloured by class if there are several classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final

import numpy as np

from celltable.cells import Instances, Sample
from celltable.drawing.page import key
from celltable.drawing.picture import CLASSES, TRUTH, picture
from celltable.plugins.section import Material, Section

Fetch = Callable[[str], Sample]
MOST: Final = 12
MOST_BESIDE: Final = 4  # image types of each further store
_KINDS: Final = ("modality", "tissue", "cell_type", "image_class")
_OTHER: Final = "other classes"


def render(material: Material) -> str:
    """Show images of each modality (tissue, cell type) with contours: of median cell count, or from few to many cells.

    Annotated images are preferred. Further stores follow with a few images each.
    """
    colours = _colours(material.summaries)
    first = _gallery(material.summaries[0], material.images, material.sample, colours, MOST)
    others = zip(material.summaries[1:], material.others, material.other_samples, strict=True)
    more = "".join(
        f"<h3>{escape(str(summary['name']))}</h3>{_gallery(summary, images, sample, colours, MOST_BESIDE)}"
        for summary, (_, images, _), sample in others
    )
    return first + more


def _gallery(summary: dict[str, Any], images: Any, fetch: Fetch, palette: dict[str, str], most: int) -> str:
    kinds = _members(summary, images)
    each = max(1, 4 // max(len(kinds), 1))  # four images of a single type, two each of two types
    has = set(summary["classes"])
    colours = {name: c for name, c in palette.items() if name in has or (name == _OTHER and has - set(palette))}
    figures = []
    for name, members in sorted(kinds.items(), key=lambda item: -len(item[1]))[:most]:
        shown = [m for m in members if m[1] is not None] or members
        for at in _spread(len(shown), each):
            image_id, n = shown[at]
            sample = fetch(image_id)
            cells = "not annotated" if n is None else f"{n:,} cell{'s' * (n != 1)}"
            number = f"{len(members):,} image{'s' * (len(members) != 1)}"
            caption = f"<b>{escape(name)}</b>, {number}; here {escape(image_id[:40])}, {cells}"
            figures.append(picture(sample, _layers(sample, colours), caption=caption))
    legend = [(colour, name) for name, colour in colours.items()] or [(TRUTH, "annotation")]
    return key(legend) + f'<div class="gallery">{"".join(figures)}</div>'


def _members(summary: dict[str, Any], images: Any) -> dict[str, list[tuple[str, int | None]]]:
    """Map each image type to its images and their cell counts (None: not annotated), from few to many."""
    columns = [images.column(c).to_pylist() for c in _grouping(summary)]
    facts = (images.column(c).to_pylist() for c in ("image_id", "n_instances", "annotated"))
    kinds: dict[str, list[tuple[str, int | None]]] = {}
    for row, (image_id, n, annotated) in enumerate(zip(*facts, strict=True)):
        name = " · ".join(str(c[row]) for c in columns if c[row] is not None) or "no kind stated"
        kinds.setdefault(name, []).append((image_id, n if annotated else None))
    return {name: sorted(members, key=lambda m: (m[1] or 0, m[0])) for name, members in kinds.items()}


def _spread(n: int, each: int) -> list[int]:
    """Pick `each` evenly spaced positions of `n`; the middle one if `each` is 1."""
    if each == 1:
        return [n // 2]
    return sorted({round(k * (n - 1) / (each - 1)) for k in range(each)})


def _grouping(summary: dict[str, Any]) -> list[str]:
    for name in _KINDS[1:3]:
        if len(summary[name]) > 1:
            return [name]
    kinds = ["modality"]
    if len(summary["modality"]) < 4 and 1 < len(summary["image_class"]) <= 40:
        kinds.append("image_class")
    return kinds


def _colours(summaries: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Assign colours to the most frequent classes, the same in every store; empty for fewer than two classes."""
    classes = list(dict.fromkeys(name for summary in summaries for name in summary["classes"]))
    if len(classes) < 2:
        return {}
    named = dict(zip(classes, CLASSES[:-1], strict=False))
    return named if len(classes) <= len(named) else {**named, _OTHER: CLASSES[-1]}


def _layers(sample: Sample, colours: dict[str, str]) -> dict[str, Instances]:
    cells = sample.instances
    if not colours:
        return {TRUTH: cells}
    names: list[Any] = cells.column("class_name")
    layers = {colours[c]: cells.take(np.array([n == c for n in names], bool)) for c in colours if c != _OTHER}
    rest = cells.take(np.array([n not in colours for n in names], bool))
    return {**layers, colours.get(_OTHER, CLASSES[-1]): rest}


SECTION = Section("gallery", "What it looks like", 30, render)
