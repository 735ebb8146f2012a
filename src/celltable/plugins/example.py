"""Examples for checks and repairs: a few cells drawn as text, with the expected result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample

Place = tuple[str | None, int | None]  # image id, instance id; None for the whole release or the whole image


@dataclass(frozen=True, slots=True)
class CheckExample:
    """Images with a defect, and all places where a check must report it.

    Attributes
    ----------
    samples
        The images.
    places
        (image id, instance id) of each finding; None for the whole release or image.
    dataset
        Content of dataset.json, for checks of scope "dataset".
    """

    samples: tuple[Sample, ...]
    places: frozenset[Place]
    dataset: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, *samples: Sample, at: Iterable[Place], dataset: Mapping[str, Any] | None = None) -> CheckExample:
        """Make an example from samples and places."""
        return cls(samples, frozenset(at), dataset or {})


@dataclass(frozen=True, slots=True)
class RepairExample:
    """The cells of an image before and after a repair."""

    before: Sample
    after: Sample


def drawn(*layers: str, image: Image | None = None, scale: int = 1, **columns: Any) -> Sample:
    """Make a sample from cells drawn as text.

    Parameters
    ----------
    *layers
        Drawings of the same size: a letter or digit per pixel, a dot or blank for background. Cells are in the order of
        their first appearance, from the first layer to the last; cells in different layers may overlap.
    image
        The image; by default one called "a" with the size of the drawing.
    scale
        Edge in px of the square that each letter stands for.
    **columns
        Columns of the cells, as for `Instances`.

    Returns
    -------
    Sample
        Pixels are 120 inside cells and 20 outside, uint8.

    >>> sample = drawn("11.2", "..33", class_name=["a", "b", "b"])
    >>> sample.instances.area.tolist(), sample.pixels().tolist()
    ([2, 1, 2], [[120, 120, 120, 120]])
    """
    masks: list[NDArray[np.bool_]] = []
    for layer in layers:
        rows = [line.rstrip() for line in dedent(layer).splitlines() if line.strip()]
        width = max(map(len, rows))
        letters = np.asarray([list(row.ljust(width, ".").replace(" ", ".")) for row in rows])
        large = np.kron(np.arange(letters.size).reshape(letters.shape), np.ones((scale, scale), np.int64))
        drawing = letters.ravel()[large]
        masks += [drawing == letter for letter in dict.fromkeys(letters.ravel().tolist()) if letter != "."]
        size = (int(drawing.shape[0]), int(drawing.shape[1]))
    return painted(masks, size, image=image, **columns)


def painted(
    masks: Iterable[NDArray[np.bool_]], size: tuple[int, int], *, image: Image | None = None, **columns: Any
) -> Sample:
    """Make a sample from masks (row, column), with pixels of 120 inside cells and 20 outside, uint8."""
    stack = list(masks)
    pixels = (20 + 100 * np.any(stack, axis=0)).astype(np.uint8) if stack else np.full(size, 20, np.uint8)
    cells = Instances.from_masks(stack, size, **columns)
    return Sample(image or Image("a", *size), cells, load_pixels=lambda: pixels)


def discs(*centres: tuple[float, float, float], size: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """Draw masks of discs given as (row, column, radius).

    >>> discs((1, 1, 1), size=(3, 3))[0].sum().item()
    5
    """
    y, x = np.mgrid[: size[0], : size[1]]
    return [np.asarray((y - row) ** 2 + (x - column) ** 2 <= radius**2) for row, column, radius in centres]
