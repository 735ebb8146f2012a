"""Smooth random fields, blur, uneven light and a camera: everything between a cell and its pixels.

Nothing here uses linear algebra libraries, so one seed gives the same bytes whatever BLAS a machine has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._scene import Floats, Size

CAMERA_MAX = {"uint8": 255, "uint16": 4095}  # 16-bit files of microscopes hold 12 bits


def _spline(coarse: Floats, n: int, scale: float, offset: float) -> Floats:
    """Stretch axis 0 of `coarse` to n samples, `scale` samples per knot, by quadratic B-splines."""
    at = np.arange(n, dtype=np.float32) / np.float32(scale) + np.float32(offset)
    knot = at.astype(np.int64)
    t = (at - knot).astype(np.float32).reshape(-1, *[1] * (coarse.ndim - 1))
    left = np.float32(0.5) * (1 - t) ** 2
    right = np.float32(0.5) * t**2
    stretched: Floats = coarse[knot] * left + coarse[knot + 1] * (1 - left - right) + coarse[knot + 2] * right
    return stretched


def field(rng: np.random.Generator, size: Size, scale: float | tuple[float, float]) -> Floats:
    """A smooth random field of mean about 0 and deviation about 1, whose bumps are `scale` pixels apart."""
    rows, cols = scale if isinstance(scale, tuple) else (scale, scale)
    coarse = rng.standard_normal((int(size[0] / rows) + 4, int(size[1] / cols) + 4), np.float32)
    shift = rng.random(2)
    tall = _spline(coarse, size[0], rows, float(shift[0]))
    wide = _spline(np.ascontiguousarray(tall.T), size[1], cols, float(shift[1])).T
    return np.ascontiguousarray(wide, np.float32) * np.float32(1.65)  # splines average; 1.65 restores the deviation


def fibres(
    rng: np.random.Generator, size: Size, angle: float, scale: tuple[float, float], *, waves: float = 1.0
) -> Floats:
    """A field drawn out along `angle` (radians): bumps `scale` = (along, across) pixels, bent by `waves`."""
    from scipy.ndimage import map_coordinates

    y, x = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32), indexing="ij")
    bend = field(rng, size, max(size) / 4 + 8) * np.float32(waves * max(size) / 12)
    along = (x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))) / np.float32(scale[0])
    across = (y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle)) + bend) / np.float32(scale[1])
    along -= along.min()
    across -= across.min()
    knots = rng.standard_normal((int(along.max()) + 4, int(across.max()) + 4), np.float32)
    drawn: Floats = map_coordinates(knots, [along + 1, across + 1], order=1, mode="nearest", output=np.float32)
    return drawn * np.float32(1.4)


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur of the last two axes; wide ones as three box filters, whose cost does not grow with `sigma`."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    if sigma <= 0:
        return image
    if sigma < 3:
        near: Floats = gaussian_filter(image, sigma, mode="nearest", truncate=3)
        return near
    width = int(2 * sigma) | 1  # three boxes of width w have variance (w² - 1) / 4
    for _ in range(3):
        image = uniform_filter(image, width, mode="nearest")
    return image


def illumination(rng: np.random.Generator, size: Size, strength: float) -> Floats:
    """Uneven light, 1 on average: a slope and a vignette of about `strength` from edge to edge."""
    y = np.linspace(-1, 1, size[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, size[1], dtype=np.float32)[None, :]
    slope = rng.uniform(-0.5, 0.5, 2)
    centre = rng.uniform(-0.3, 0.3, 2)
    bowl = (y - np.float32(centre[0])) ** 2 + (x - np.float32(centre[1])) ** 2
    light = 1 + np.float32(strength) * (np.float32(slope[0]) * y + np.float32(slope[1]) * x - (bowl - 0.7) / 3)
    bright: Floats = np.maximum(light, np.float32(0.05)).astype(np.float32)
    return bright


def camera(
    image: Floats, rng: np.random.Generator, dtype: str, *, full_well: float, read_noise: float, noise: float
) -> NDArray[Any]:
    """Expose, read out and round: Poisson shot noise and normal read noise, `noise` = 0 for neither, 2 for twice."""
    if noise > 0:
        well = full_well / noise**2
        electrons = np.maximum(image, 0) * np.float32(well)
        # Poisson by Anscombe's transform (Biometrika 35, 1948), near exact from 4 electrons on and far quicker to draw
        root = np.sqrt(electrons + np.float32(0.375)) + np.float32(0.5) * rng.standard_normal(image.shape, np.float32)
        counts = root * root - np.float32(0.375)
        counts += np.float32(read_noise) * rng.standard_normal(image.shape, np.float32)
        image = counts / np.float32(well)
    top = CAMERA_MAX[dtype]
    return np.clip(np.rint(image * np.float32(top)), 0, top).astype(dtype)
