"""Stained smears in transmitted light: dark nuclei in translucent, folded cytoplasm on a bright ground."""

from __future__ import annotations

import numpy as np

from ._noise import blur, field, illumination
from ._scene import Drawing, Floats, Request
from ._shapes import Cells, Doubles, Outline, blob, dome, place, radii, resolve, specks

VARIANTS = ("smear", "bare")  # with and without cytoplasm
PIXEL_SIZE_UM = 0.35


def draw(rng: np.random.Generator, ask: Request) -> Drawing:
    """Densities add up and light falls off as 10^-density (Beer-Lambert)."""
    size = radii(rng, ask.size, ask.cells, 10.0, fill=0.22, vary=0.2)
    at = place(rng, ask.size, size, touching=0.6 * ask.touching, gap=0.62 if ask.overlap else 0.88)
    outlines = [
        blob(rng, ask.size, centre, float(radius), aspect=float(rng.uniform(1, 1.8)), wobble=0.06)
        for centre, radius in zip(at, size, strict=True)
    ]
    cells = resolve(ask.size, outlines, overlap=ask.overlap)
    density = _nuclei(rng, ask, cells)
    if ask.variant == "smear":
        density += _cytoplasm(rng, ask, [(at[i], float(size[i])) for i in cells.kept])
    density += blur(specks(rng, ask.size, int(rng.integers(2, 12)), low=0.7, high=2.4, round_=False)[1], 0.7) * 0.3
    density = np.maximum(blur(density, 0.9 * ask.blur) + np.float32(0.004) * field(rng, ask.size, 3), 0)
    light = np.float32(rng.uniform(0.84, 0.92)) * illumination(rng, ask.size, 0.1) * np.power(np.float32(10), -density)
    names = (("nucleus",),) * len(cells.masks)
    return Drawing(light.astype(np.float32), cells.masks, cells.label_map, names, full_well=9000, read_noise=12)


def _nuclei(rng: np.random.Generator, ask: Request, cells: Cells) -> Floats:
    """Nuclear dye, darker at the rim, with clumped chromatin."""
    depth = rng.lognormal(np.log(0.27), 0.22, len(cells.masks))
    clumps = 1 + np.float32(0.16) * field(rng, ask.size, 2.6) + np.float32(0.1) * field(rng, ask.size, 6)
    return dome(cells, depth, flat=0.9, overlap=ask.overlap) * np.maximum(clumps, np.float32(0.3))


def _cytoplasm(rng: np.random.Generator, ask: Request, nuclei: list[tuple[Doubles, float]]) -> Floats:
    """Wide, angular, see-through bodies; where they overlap they darken and their rims fold."""
    density = np.zeros(ask.size, np.float32)
    grain = 1 + np.float32(0.12) * field(rng, ask.size, 2.0) + np.float32(0.15) * field(rng, ask.size, 14)
    for centre, radius in nuclei:
        if rng.random() < 0.25:
            continue
        body: Outline = blob(
            rng,
            ask.size,
            centre + rng.normal(0, radius, 2),
            radius * float(rng.uniform(2.6, 4.6)),
            aspect=float(rng.uniform(1, 1.8)),
            wobble=0.12,
            harmonics=7,
        )
        rim = np.exp(-(((body.level - np.float32(0.97)) / np.float32(0.03)) ** 2))
        sheet = (body.level < 1) * np.float32(rng.uniform(0.02, 0.09)) * (1 + np.float32(0.5) * rim)
        density[body.box] += sheet * grain[body.box]
    folds = np.exp(-((field(rng, ask.size, 30) / np.float32(0.05)) ** 2)) * (density > 0.02)
    return density + np.float32(0.05) * folds
