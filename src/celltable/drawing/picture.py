"""Pictures of an image with contours: pixels as 8-bit colour, overlaid with vector outlines."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Instances, Sample
from celltable.geometry import outline

SIDE = 420  # px of the longer side: sharp on a high-density screen at the displayed size
TRUTH, PREDICTION, MARK = "#37d67a", "#ff5fa2", "#ffd23f"
CLASSES = ("#37d67a", "#ff8c1a", "#29b6f6", "#ff4d4d", "#ffe14d", "#d580ff", "#ff9ecb", "#c8c8c8")  # last: all others
_ROLE_COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (0.6, 0.6, 0), "dna": (0.2, 0.4, 1)}


def to_rgb(pixels: NDArray[Any], channels: Sequence[str] = ()) -> NDArray[np.uint8]:
    """Convert an image to 8-bit RGB (row, column, 3).

    Grey images and images deeper than 8 bits are stretched between their 0.5 and 99.8 percentiles. 8-bit colour images
    are returned as they are; other channels are mixed in the colours of their names.
    """
    image = pixels[..., None] if pixels.ndim == 2 else pixels
    if image.shape[2] in (2, 4) and image.dtype == np.uint8 and not set(channels) & set(_ROLE_COLOURS):
        image = image[..., :-1]
    if image.shape[2] == 3 and image.dtype == np.uint8 and not channels_are_roles(channels):
        grey = np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2])
        if not grey:
            return np.ascontiguousarray(image)
        image = image[..., :1]
    planes = [_stretch(image[..., c].astype(np.float32)) for c in range(image.shape[2])]
    if len(planes) == 1:
        return np.repeat((planes[0] * 255).astype(np.uint8)[..., None], 3, axis=2)
    mixed = np.zeros((*image.shape[:2], 3), np.float32)
    fallback = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.6, 0), (0, 0.6, 0.6)]
    for i, plane in enumerate(planes):
        name = channels[i].lower() if i < len(channels) else ""
        mixed += plane[..., None] * np.array(_ROLE_COLOURS.get(name, fallback[i % len(fallback)]), np.float32)
    return (np.clip(mixed, 0, 1) * 255).astype(np.uint8)


def channels_are_roles(channels: Sequence[str]) -> bool:
    """Return whether the channels are stains rather than those of a colour camera."""
    return bool(channels) and not {c.lower() for c in channels} <= {"red", "green", "blue", "alpha", "r", "g", "b", "a"}


def _stretch(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = np.percentile(plane[:: max(1, plane.shape[0] // 256), :: max(1, plane.shape[1] // 256)], (0.5, 99.8))
    stretched: NDArray[np.float32] = np.clip((plane - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    return stretched


def embed(rgb: NDArray[np.uint8], side: int = SIDE) -> str:
    """Encode the image as a data URI (JPEG, quality 85), its longer side at most `side` px."""
    from PIL import Image

    picture = Image.fromarray(rgb)
    scale = side / max(picture.size)
    if scale < 1:
        new = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(new, Image.Resampling.BOX)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def path_of(instances: Instances) -> str:
    """Draw all contours of the cells as one SVG path, in image pixels.

    Contours follow the edges of pixels, so that a step is a number of pixels across or down.
    """
    parts = []
    for polygons in outline.polygons(instances.rle):
        for ring in polygons:
            points = np.asarray(ring.points_xy)
            steps = "".join(map(_step, np.diff(points, axis=0).tolist()))
            parts.append(f"M{points[0, 0]:g} {points[0, 1]:g}{steps}Z")
    return "".join(parts)


def _step(move: Sequence[float]) -> str:
    across, down = move
    return f"l{across:g} {down:g}" if across and down else f"h{across:g}" if across else f"v{down:g}"


def _inside(cells: Instances, window: tuple[int, int, int, int]) -> Instances:
    """Return the cells that are at least partly inside the window."""
    x, y, w, h = window
    left, top, width, height = np.asarray(cells.bbox).reshape(-1, 4).T
    return cells.take((left < x + w) & (left + width > x) & (top < y + h) & (top + height > y))


def picture(
    sample: Sample,
    layers: Mapping[str, Instances],
    *,
    caption: str = "",
    window: tuple[int, int, int, int] | None = None,
    places_xy: Sequence[tuple[float, float]] = (),
) -> str:
    """Draw an image with contour layers (colour → cells) as an HTML figure.

    `window` (x, y, width, height) crops it; `places_xy` are circled. Without pixels the background is black and the
    caption says so.
    """
    height, width = sample.image.size
    x, y, w, h = window or (0, 0, width, height)
    if sample.load_pixels is None:
        rgb, caption = np.zeros((h, w, 3), np.uint8), f"{caption} (no pixels)"
    else:
        rgb = to_rgb(sample.pixels(), sample.image.channels)[y : y + h, x : x + w]
    stroke = max(w, h) / SIDE * 1.6
    paths = "".join(
        f'<path d="{path_of(_inside(cells, (x, y, w, h)))}" fill="none" stroke="{colour}" stroke-width="{stroke:.2f}"/>'
        for colour, cells in layers.items()
    )
    paths += "".join(
        f'<circle cx="{cx:g}" cy="{cy:g}" r="{max(w, h) / 36:.1f}" fill="none" stroke="{MARK}" '
        f'stroke-width="{stroke * 1.5:.2f}"/>'
        for cx, cy in places_xy
    )
    return (
        f'<figure><svg viewBox="{x} {y} {w} {h}" role="img"><title>{escape(caption)}</title>'
        f'<image href="{embed(rgb)}" x="{x}" y="{y}" width="{w}" height="{h}" preserveAspectRatio="none"/>{paths}</svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )
