"""Classify an image from a few thousand of its pixels: modality, colours, image class, derived group.

The statistics are taken on a regular grid of about 4,000 pixels, which costs a fraction of decoding. Nothing here looks
at other images: two images of one acquisition get the same group because their statistics fall in the same coarse steps
(see `Look.group`); near duplicates on different sides of a step are left to the dataset-wide check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SAMPLES: Final = 4096  # pixels read; with more, percentiles change by less than one grey level
COLOURED: Final = 4.0  # mean max-min of R, G, B: 0 in every grey image of stage1_train, 11.8 in the palest stain
BRIGHT: Final = 100  # median grey level of a bright background; at most 44 in its dark, 226 in its bright images
PALE: Final = 30.0  # max-min up to which a background is white; stage1_train has none between 18 and 40
SPARSE: Final = 0.1  # covered share of an image below which cells are "sparce" (the COCO collection's spelling)
SMALL, MEDIUM = 400.0, 1000.0  # upper bounds of the median cell area of small and medium, px²
_HUES: Final = (
    (20, "red"),
    (45, "brown"),
    (70, "yellow"),
    (165, "green"),
    (255, "blue"),
    (345, "purple"),
    (360, "red"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """How an image looks: its modality, the colours of cells and background, and two grey levels (0-255).

    `modality` is fluorescence (grey on dark), bright-field (grey on bright) or histology (coloured). `levels` are the
    lower quartile and the 99th percentile of a dark image, the 5th percentile and the upper quartile of a bright one.
    """

    modality: str
    foreground: str
    background: str
    levels: tuple[int, int]

    def group(self, size: tuple[int, int]) -> str:
        """Return a key that images of one acquisition share: modality, size, and both levels in coarse steps.

        Steps are powers of two for dark images, 32 grey levels for bright ones. `size` is (height, width).
        """
        if self.modality == "fluorescence":
            steps = [(v + 1).bit_length() - 1 for v in self.levels]
        else:
            steps = [v // 32 for v in self.levels]
        return f"{self.modality}-{size[1]}x{size[0]}-{steps[0]}-{steps[1]}"


def look_at(pixels: NDArray[Any]) -> Look:
    """Classify an image (row, column) or (row, column, channel); alpha (the 2nd or 4th channel) is ignored.

    >>> dark = np.zeros((64, 64), np.uint8); dark[20:30, 20:30] = 200
    >>> look_at(dark)
    Look(modality='fluorescence', foreground='white', background='black', levels=(0, 200))
    >>> look_at(255 - dark).group((64, 64))
    'bright-field-64x64-7-7'
    """
    red, green, blue = _sampled(pixels)
    luminance = ((red.astype(np.uint16) + green + blue) // 3).astype(np.uint8)
    counts = np.bincount(luminance, minlength=256)
    low, quarter, middle, upper, high = _percentiles(counts, (5, 25, 50, 75, 99))
    chroma = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    if chroma.mean() >= COLOURED:
        dark = luminance <= _otsu(counts)
        means = [
            [float(c[where].mean()) if where.any() else 255.0 for c in (red, green, blue)] for where in (dark, ~dark)
        ]
        return Look("histology", colour_name(means[0]), colour_name(means[1]), (low, upper))
    if middle >= BRIGHT and 2 * middle >= low + high:
        return Look("bright-field", "black", "white", (low, upper))
    return Look("fluorescence", "white", "black", (quarter, high))


def image_class(look: Look, size: tuple[int, int], areas: NDArray[np.int64] | None) -> str:
    """Make the nuclei_class of the COCO nuclei collection: ``<foreground>_<background>_<width>_<height>_<density>``.

    The collection's classes were sorted by hand after clustering colours; this rule comes close. Density is ``sparce``
    if cells cover less than a tenth of the image, else small, medium or large by their median area; it is left out if
    `areas` (px², one per cell) is None because the image is not annotated. `size` is (height, width).

    >>> image_class(Look("histology", "purple", "purple", (90, 180)), (256, 320), np.full(37, 170))
    'purple_purple_320_256_sparce'
    """
    name = f"{look.foreground}_{look.background}_{size[1]}_{size[0]}"
    if areas is None:
        return name
    if int(areas.sum()) < SPARSE * size[0] * size[1]:
        return f"{name}_sparce"
    middle = float(np.median(areas))
    return f"{name}_{'small' if middle < SMALL else 'medium' if middle < MEDIUM else 'large'}"


def colour_name(rgb: list[float]) -> str:
    """Name a colour of three values 0-255: white, black, or its hue.

    >>> colour_name([127.0, 88.0, 198.0]), colour_name([209.0, 213.0, 215.0])
    ('purple', 'white')
    """
    high, low = max(rgb), min(rgb)
    if high - low < PALE:
        return "white" if sum(rgb) >= 384 else "black"
    red, green, blue = rgb
    if high == red:
        hue = 60 * (((green - blue) / (high - low)) % 6)
    elif high == green:
        hue = 60 * ((blue - red) / (high - low) + 2)
    else:
        hue = 60 * ((red - green) / (high - low) + 4)
    return next(name for end, name in _HUES if hue <= end)


def _sampled(pixels: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return red, green and blue of a grid of pixels, 8-bit and one-dimensional."""
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / SAMPLES) ** 0.5))
    start = step // 2
    grid = pixels[start::step, start::step]
    if grid.dtype != np.uint8:
        top = float(grid.max(initial=0))
        full = 255.0 if top <= 255 else 4095.0 if top <= 4095 else 65535.0  # 12-bit cameras store 16 bits
        grid = (np.clip(grid, 0, full) * (255.0 / full)).astype(np.uint8)
    if grid.ndim == 2 or grid.shape[2] < 3:
        plane = np.ascontiguousarray(grid if grid.ndim == 2 else grid[..., 0]).ravel()
        return plane, plane, plane
    red, green, blue = (np.ascontiguousarray(grid[..., c]).ravel() for c in range(3))
    return red, green, blue


def _percentiles(counts: NDArray[np.intp], percents: tuple[int, ...]) -> list[int]:
    sums = np.cumsum(counts)
    levels: list[int] = np.searchsorted(sums, np.array(percents) / 100 * sums[-1]).tolist()
    return levels


def _otsu(counts: NDArray[np.intp]) -> int:
    """Return the grey level that separates dark from light with the largest variance between them (Otsu 1979)."""
    weight = np.cumsum(counts)
    moment = np.cumsum(counts * np.arange(256))
    rest = weight[-1] - weight
    gap = (moment[-1] * weight / max(int(weight[-1]), 1) - moment) ** 2 / np.maximum(weight * rest, 1)
    return int(np.argmax(gap))
