"""Examples that checks and repairs carry: a few cells drawn as text, with what has to come out of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample

Place = tuple[str | None, int | None]  # image id, instance id; None for the whole release, the whole image


@dataclass(frozen=True, slots=True)
class CheckExample:
    """Images with a defect, and where a check has to report it: there and nowhere else.

    Attributes
    ----------
    samples
        The images.
    places
        (image id, instance id) of each finding; None for the whole release or image.
    dataset
        What dataset.json says, for checks of scope "dataset".
    """

    samples: tuple[Sample, ...]
    places: frozenset[Place]
    dataset: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, *samples: Sample, at: Iterable[Place], dataset: Mapping[str, Any] | None = None) -> CheckExample:
        """Make an example of samples and places."""
        return cls(samples, frozenset(at), dataset or {})


@dataclass(frozen=True, slots=True)
class RepairExample:
    """The cells of an image before and after a repair."""

    before: Sample
    after: Sample


def drawn(*layers: str, image: Image | None = None, scale: int = 1, **columns: Any) -> Sample:
    """Make a sample of cells drawn as text.

    Parameters
    ----------
    *layers
        Drawings of one size: a letter or digit per pixel, cells in the order of their first appearance, from the first
        layer to the last; a dot or blank is background. Cells of different layers may overlap.
    image
        The image; by default one called "a", of the size of the drawing.
    scale
        Edge in px of the square that each letter stands for.
    **columns
        Columns of the cells, as for `Instances`.

    Returns
    -------
    Sample
        Its pixels are 120 inside of cells and 20 outside, uint8.

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
    """Make a sample of masks (row, column), with pixels of 120 inside of cells and 20 outside, uint8."""
    stack = list(masks)
    pixels = (20 + 100 * np.any(stack, axis=0)).astype(np.uint8) if stack else np.full(size, 20, np.uint8)
    cells = Instances.from_masks(stack, size, **columns)
    return Sample(image or Image("a", *size), cells, load_pixels=lambda: pixels)


def discs(*centres: tuple[float, float, float], size: tuple[int, int]) -> list[NDArray[np.bool_]]:
    """Masks of discs given as (row, column, radius).

    >>> discs((1, 1, 1), size=(3, 3))[0].sum().item()
    5
    """
    y, x = np.mgrid[: size[0], : size[1]]
    return [np.asarray((y - row) ** 2 + (x - column) ** 2 <= radius**2) for row, column, radius in centres]
