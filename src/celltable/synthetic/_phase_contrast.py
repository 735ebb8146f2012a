"""Living, unstained cells in phase contrast: grey on grey, known by their rims, halos and granules.

Phase contrast shows how the optical path differs from its surroundings, so a cell is drawn as a height map minus its
own wide blur: bodies turn darker, halos brighter, and the inside of a wide flat cell returns to the grey of the ground.
"""

from __future__ import annotations

import numpy as np

from ._noise import blur, fibres, field, illumination
from ._scene import Bools, Drawing, Floats, Request
from ._shapes import Cells, Doubles, Outline, blob, dome, levels, lookup, place, radii, resolve, specks, spindle

VARIANTS = ("spread", "round", "island", "spindle")  # like SKOV3 or Huh7, BV2 or SkBr3, MCF7 or BT474, A172 or SHSY5Y
PIXEL_SIZE_UM = 1.24


def draw(rng: np.random.Generator, ask: Request) -> Drawing:
    """Cells of one line at one density; some round up to divide, some are dead."""
    shape = {"spread": (18.0, 0.55), "round": (8.0, 0.4), "island": (13.0, 0.85), "spindle": (13.0, 0.5)}
    typical, fill = shape[ask.variant]
    size = radii(rng, ask.size, ask.cells, typical, fill=fill, vary=0.2 if ask.variant != "round" else 0.1)
    rounded = rng.random(ask.cells) < (1.0 if ask.variant == "round" else 0.07)
    size = np.where(rounded & (ask.variant != "round"), size * 0.65, size)
    lean = min(1.0, ask.touching * {"island": 1.8, "round": 1.4}.get(ask.variant, 1.0))
    at = place(
        rng,
        ask.size,
        size,
        touching=lean,
        gap=0.62 if ask.overlap else {"island": 0.7, "spread": 0.76}.get(ask.variant, 0.85),
    )
    grain = float(rng.uniform(0, np.pi))
    outlines = [
        _outline(rng, ask, centre, float(radius), bool(ball), grain)
        for centre, radius, ball in zip(at, size, rounded, strict=True)
    ]
    cells = resolve(ask.size, outlines, overlap=ask.overlap)
    rounded = rounded[list(cells.kept)]
    names = tuple(("round",) if ball else (ask.variant,) for ball in rounded)
    image = _optics(rng, ask, cells, rounded)
    return Drawing(image, cells.masks, cells.label_map, names, full_well=30000, read_noise=60)


def _outline(
    rng: np.random.Generator, ask: Request, centre: Doubles, radius: float, ball: bool, grain: float
) -> Outline:
    if ball:
        return blob(rng, ask.size, centre, radius, aspect=float(rng.uniform(1, 1.25)), wobble=0.03)
    if ask.variant == "spindle":
        length = radius * float(rng.uniform(3.0, 5.2))
        turn = grain + float(rng.normal(0, 0.5))
        bend = float(rng.normal(0, 0.12)) * length
        return spindle(rng, ask.size, centre, length, radius * float(rng.uniform(1.0, 1.6)), angle=turn, bend=bend)
    wobble, aspect = (0.13, 1.9) if ask.variant == "spread" else (0.08, 1.6)
    return blob(rng, ask.size, centre, radius, aspect=float(rng.uniform(1, aspect)), wobble=wobble, harmonics=8)


def _optics(rng: np.random.Generator, ask: Request, cells: Cells, rounded: Bools) -> Floats:
    """Height map, halo, granules, nuclei, debris, and the grey background."""
    thick = np.where(rounded, 1.0, {"spindle": 0.5, "round": 1.0}.get(ask.variant, 0.4))
    height = dome(cells, thick * rng.lognormal(0, 0.2, len(rounded)), flat=0.55, overlap=ask.overlap)
    pieces = int(rng.integers(3, 8 + ask.size[0] * ask.size[1] // 9000))
    litter, weight = specks(rng, ask.size, pieces, low=0.5, high=1.6)
    height += weight * np.float32(0.45)
    sharp, near, wide = blur(height, 0.7 * ask.blur), blur(height, 1.9 * ask.blur), blur(height, 5.0 * ask.blur)
    halo = (near - sharp) * np.float32(0.85) + (wide - sharp) * np.float32(0.08)
    inside = cells.label_map > 0
    grain = field(rng, ask.size, 1.5) - np.float32(0.55) * field(rng, ask.size, 3.0)
    bodies = lookup(cells, np.where(rounded, 0.05, 0.028) * rng.lognormal(0, 0.35, len(rounded)))
    granules = bodies * grain + np.float32(0.05) * np.clip(grain - 2, 0, 1.5) * inside
    image = halo + granules + _organelles(rng, ask, cells) + _seams(cells)
    ground = fibres(rng, ask.size, 0.4, (90, 3)) * np.float32(0.0025) + field(rng, ask.size, 40) * np.float32(0.002)
    grey = np.float32(128 / 255) * illumination(rng, ask.size, 0.02)
    light: Floats = grey + image * np.float32(rng.uniform(0.75, 1.1)) + ground * (1 - litter)
    return np.clip(light, 0, 1)


def _organelles(rng: np.random.Generator, ask: Request, cells: Cells) -> Floats:
    """The nuclear outline and a dark nucleolus or two, at the middle of each cell."""
    level = levels(cells)
    ring = np.exp(-(((level - np.float32(0.42)) / np.float32(0.06)) ** 2)) * (cells.label_map > 0)
    spots = np.clip(field(rng, ask.size, 3.0) - np.float32(1.2), 0, 1) * (level < 0.4)
    parts: Floats = np.float32(0.035) * ring - np.float32(0.08) * spots
    return parts


def _seams(cells: Cells) -> Floats:
    """The thin bright line between cells that touch, and the dark one just inside every rim."""
    labels = cells.label_map
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    line = blur((edge & (labels > 0)).astype(np.float32), 0.6)
    return np.float32(0.11) * (line - np.float32(0.9) * blur(line, 1.3))
