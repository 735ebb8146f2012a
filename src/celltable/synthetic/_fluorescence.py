"""Nuclei under a DNA dye: bright on dark, clumped, unevenly lit, some dividing, some out of focus."""

from __future__ import annotations

import numpy as np

from ._noise import blur, field, illumination
from ._scene import Bools, Drawing, Floats, Request
from ._shapes import Cells, blob, dome, lookup, place, radii, resolve, specks

VARIANTS = ("culture", "tissue", "chromocentres")  # U2OS-like, dense with mitoses, mouse nuclei with bright foci
PIXEL_SIZE_UM = 0.65


def draw(rng: np.random.Generator, ask: Request) -> Drawing:
    """Nuclei as domes of dye with chromatin texture; haze, ghosts below the focal plane, debris."""
    dense = ask.variant == "tissue"
    size = radii(rng, ask.size, ask.cells, 13.0 if not dense else 10.0, fill=0.34 if not dense else 0.5, vary=0.18)
    mitotic = rng.random(ask.cells) < (0.1 if dense else 0.03)
    size = np.where(mitotic, size * 0.75, size)
    at = place(rng, ask.size, size, touching=ask.touching, gap=0.62 if ask.overlap else 0.86)
    outlines = [
        blob(
            rng,
            ask.size,
            centre,
            float(radius),
            aspect=float(rng.uniform(1.6, 2.6) if divides else rng.uniform(1.0, 1.65)),
            wobble=0.16 if divides else 0.05,
        )
        for centre, radius, divides in zip(at, size, mitotic, strict=True)
    ]
    cells = resolve(ask.size, outlines, overlap=ask.overlap)
    mitotic = mitotic[list(cells.kept)]
    image = _light(rng, ask, cells, mitotic)
    names = tuple(("mitotic",) if divides else ("interphase",) for divides in mitotic)
    return Drawing(image, cells.masks, cells.label_map, names, full_well=1500, read_noise=6)


def _light(rng: np.random.Generator, ask: Request, cells: Cells, mitotic: Bools) -> Floats:
    """What falls on the camera: nuclei, ghosts and debris, haze and uneven light."""
    glow = rng.lognormal(0, 0.32, len(mitotic)) * np.where(mitotic, 2.2, 1.0)
    nuclei = dome(cells, glow, flat=0.55, overlap=ask.overlap) * _chromatin(rng, ask, cells, mitotic)
    light = blur(nuclei, (1.5 if ask.variant == "tissue" else 1.0) * ask.blur) + blur(_ghosts(rng, ask), 5.0 * ask.blur)
    light += blur(specks(rng, ask.size, int(rng.integers(0, 5)), low=0.6, high=1.6)[1], 0.8) * np.float32(0.7)
    haze = blur(light, 18.0) * np.float32(rng.uniform(0.1, 0.5))
    floor = np.float32(rng.uniform(0.03, 0.12))
    exposure = np.float32(rng.uniform(0.14, 0.42))
    return (light + haze + floor) * illumination(rng, ask.size, 0.5) * exposure


def _chromatin(rng: np.random.Generator, ask: Request, cells: Cells, mitotic: Bools) -> Floats:
    """Texture around 1: fine grain, dark nucleoli, and bright foci in mouse nuclei."""
    fine, coarse = field(rng, ask.size, 2.2), field(rng, ask.size, 5.0)
    foci = np.float32(1.3 if ask.variant == "chromocentres" else 0.0) * np.clip(coarse - np.float32(0.9), 0, 1.2)
    nucleoli = np.float32(0.5) * np.clip(-coarse - np.float32(1.1), 0, 0.7)
    grain = lookup(cells, np.where(mitotic, 0.25, 0.08), 0.0)
    texture: Floats = np.maximum(1 + grain * fine + np.float32(0.08) * coarse + foci - nucleoli, np.float32(0.1))
    return texture


def _ghosts(rng: np.random.Generator, ask: Request) -> Floats:
    """Draw out-of-focus nuclei: they glow but are not annotated."""
    count = int(rng.integers(0, 1 + max(1, ask.cells // 10))) if ask.cells else 0
    ghost = radii(rng, ask.size, count, 12.0, fill=0.3, vary=0.2)
    sheet = np.zeros(ask.size, np.float32)
    for radius in ghost:
        out = blob(rng, ask.size, rng.uniform(0, ask.size), float(radius), aspect=float(rng.uniform(1, 1.5)))
        sheet[out.box] += (out.level < 1) * np.float32(rng.uniform(0.12, 0.4))
    return sheet
