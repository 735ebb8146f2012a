"""Read annotations drawn as lines: line pixels, open contours, and nuclei inside cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Kind, Sample
from celltable.geometry import label_map
from celltable.geometry.overlap import overlap_of_masks
from celltable.imagefile import Release
from celltable.rules import rule

from ._read import sample, unlabelled

rule(
    "cut-outline",
    "Outline cut by the image border",
    "warning",
    "The outline runs into the border and encloses nothing: its cell is missing.",
    emitter="ingest bbbc007, ingest bbbc018",
)
rule(
    "open-outline",
    "Outline that is not closed",
    "warning",
    "The outline encloses nothing, or too little to be a cell: its cell is missing.",
    emitter="ingest bbbc007, ingest bbbc018",
)

INSIDE: Final = 0.9  # least share of a nucleus in one cell, as its line may stray a pixel or two across the cell's line
Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]


def line_of(pixels: NDArray[Any]) -> Mask:
    """Return the line of a two-valued drawing: its rarer value, whatever the polarity.

    >>> line_of(np.array([[255, 255, 0]])).tolist()
    [[False, False, True]]
    """
    plane = pixels if pixels.ndim == 2 else pixels[..., :3].max(axis=2)
    bright = plane > (int(plane.max(initial=0)) + int(plane.min(initial=0))) // 2 if plane.dtype != bool else plane
    if not bright.any():
        return np.asarray(bright)  # a blank drawing
    return np.asarray(bright if 2 * np.count_nonzero(bright) <= bright.size else ~bright)


def grown(labels: Labels, line: Mask) -> Labels:
    """Grow labels by the line pixels that touch them, even at a corner; between two cells the lower label wins.

    >>> grown(np.array([[0, 0, 1, 0, 2]], np.int32), np.array([[1, 1, 0, 1, 0]], bool)).tolist()
    [[0, 1, 1, 1, 2]]
    """
    height, width = labels.shape
    none = np.iinfo(np.int32).max
    padded = np.full((height + 2, width + 2), none, np.int32)
    padded[1:-1, 1:-1] = np.where(labels == 0, none, labels)
    best = np.full_like(labels, none)
    for dy in range(3):
        for dx in range(3):
            np.minimum(best, padded[dy : dy + height, dx : dx + width], out=best)
    return np.where((labels == 0) & line & (best < none), best, labels)


def open_contours(line: Mask, labels: Labels, image_id: str, name: str) -> list[Finding]:
    """Report lines that enclose no cell: those cut by the image border, and those that are not closed.

    Each 8-connected piece of line that touches no cell is one contour.
    """
    pieces = label_map.components(line, 8)
    closed = np.unique(pieces[grown(labels, line) > 0])
    measured = label_map.measure(pieces)
    lost = ~np.isin(measured.ids, closed)
    x, y, w, h = measured.boxes.T
    at_border = (x == 0) | (y == 0) | (x + w == line.shape[1]) | (y + h == line.shape[0])
    findings = []
    for defect, which, what in (
        ("cut-outline", lost & at_border, "run into the image border and enclose nothing: the cells they cut are lost"),
        ("open-outline", lost & ~at_border, "enclose nothing: they are not closed, or too small inside"),
    ):
        n = int(np.count_nonzero(which))
        if n:
            findings.append(Finding(defect, f"{n} outlines of {name} {what}", "warning", image_id, value=float(n)))
    return findings


def with_parents(nuclei: Instances, cells: Instances) -> Instances:
    """Join nuclei and cells; a nucleus gets a parent if exactly one cell contains it.

    Contained means that at least 90 % of its pixels are in that cell and at most 10 % in any other.
    """
    n = len(nuclei)
    parent: list[int | None] = [None] * (n + len(cells))
    if n and len(cells):
        table = overlap_of_masks(nuclei.rle, cells.rle)
        share = table.intersection / np.maximum(table.gt_areas[table.gt_index], 1)
        held = np.bincount(table.gt_index, weights=share > 1 - INSIDE, minlength=n)
        for nucleus, cell, part in zip(table.gt_index.tolist(), table.pred_index.tolist(), share.tolist(), strict=True):
            if part >= INSIDE and held[nucleus] == 1:
                parent[nucleus] = n + cell + 1
    return Instances.concat([nuclei, cells]).with_columns(kind=["nucleus"] * n + ["cell"] * len(cells), parent=parent)


def sample_of_drawings(
    release: Release, image: Image, drawn: Mapping[Kind, Instances | None], findings: Sequence[Finding]
) -> Sample:
    """Make a sample from the drawings of nuclei and of cells; unlabelled if neither could be read."""
    nuclei, cells = drawn["nucleus"], drawn["cell"]
    if nuclei is None and cells is None:
        return unlabelled(release, image, *findings)
    none = Instances.empty(image.size)
    return sample(release, image, with_parents(nuclei or none, cells or none), findings)
