"""Tissue under haematoxylin and eosin: stains mixed by optical density, five kinds of nuclei in their surroundings.

Light behind a stain of density d is 10^-d (Beer-Lambert), so densities, not colours, add up. Stain vectors after
Ruifrok & Johnston, Anal. Quant. Cytol. Histol. 23 (2001) 291-299. Class names are those of PanNuke.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._noise import blur, fibres, field
from ._scene import Drawing, Floats, Request
from ._shapes import Cells, Doubles, Outline, blob, dome, levels, lookup, place, radii, resolve

VARIANTS = ("tumour", "stroma", "lymphoid", "gland")
PIXEL_SIZE_UM = 0.25
HAEMATOXYLIN = ((0.65, 0.70, 0.29), (0.56, 0.72, 0.41))  # Ruifrok & Johnston; Macenko et al., ISBI 2009
EOSIN = ((0.07, 0.99, 0.11), (0.22, 0.80, 0.56))  # slides are in between


@dataclass(frozen=True, slots=True)
class Nucleus:
    """How the nuclei of one class look; each number is typical, single nuclei vary around it."""

    name: str
    radius: float  # relative to the scene's
    aspect: tuple[float, float]
    wobble: float
    stain: float  # density of haematoxylin
    clumps: float  # contrast of chromatin
    rim: float  # extra density at the nuclear membrane
    halo: float  # eosin of the cytoplasm around it; negative is a pale gap


NUCLEI = (
    Nucleus("neoplastic", 1.25, (1.0, 1.6), 0.07, 0.52, 0.4, 0.7, 0.12),
    Nucleus("inflammatory", 0.68, (1.0, 1.2), 0.03, 0.95, 0.25, 0.1, -0.03),
    Nucleus("connective", 0.8, (2.4, 4.6), 0.06, 0.8, 0.16, 0.1, 0.0),
    Nucleus("dead", 0.6, (1.0, 1.5), 0.12, 1.35, 0.08, 0.0, 0.3),
    Nucleus("epithelial", 1.0, (1.15, 1.9), 0.04, 0.5, 0.25, 0.55, 0.08),
)
MIXTURES = {  # share of each class, in the order of NUCLEI; every class occurs in every tissue
    "tumour": (0.66, 0.12, 0.12, 0.05, 0.05),
    "stroma": (0.06, 0.24, 0.6, 0.04, 0.06),
    "lymphoid": (0.08, 0.76, 0.08, 0.06, 0.02),
    "gland": (0.05, 0.14, 0.2, 0.03, 0.58),
}


def draw(rng: np.random.Generator, ask: Request) -> Drawing:
    """Nuclei of five classes in a ground of collagen, cytoplasm and holes."""
    grain = float(rng.uniform(0, np.pi))  # direction of the fibres, which connective nuclei follow
    kinds = rng.choice(len(NUCLEI), ask.cells, p=MIXTURES[ask.variant])
    cells = _outlines(rng, ask, kinds, grain)
    kinds = kinds[list(cells.kept)]
    haematoxylin = _nuclei(rng, ask, cells, kinds)
    inside = (cells.label_map > 0).astype(np.float32)
    ground = _ground(rng, ask, grain, inside) + _cytoplasm(rng, ask, cells, kinds)
    ground *= 1 - np.float32(0.65) * inside
    basophilia = np.float32(rng.uniform(0.05, 0.5)) * ground  # haematoxylin never stains nuclei alone
    strength = float(rng.uniform(0.75, 1.25))
    image = _transmit(rng, ask, (haematoxylin + basophilia) * np.float32(strength), np.maximum(ground, 0))
    names = tuple((NUCLEI[kind].name,) for kind in kinds)
    return Drawing(image, cells.masks, cells.label_map, names, full_well=9000, read_noise=10)


def _outlines(rng: np.random.Generator, ask: Request, kinds: NDArray[np.int64], grain: float) -> Cells:
    size = radii(rng, ask.size, ask.cells, 11.5, fill=0.36, vary=0.14)
    size *= np.array([NUCLEI[kind].radius for kind in kinds])
    at = place(rng, ask.size, size, touching=ask.touching, gap=0.62 if ask.overlap else 0.88)
    outlines: list[Outline] = []
    for centre, radius, kind in zip(at, size, kinds, strict=True):
        look = NUCLEI[kind]
        turn = grain + float(rng.normal(0, 0.25)) if look.name == "connective" else None
        aspect = float(rng.uniform(*look.aspect))
        outlines.append(blob(rng, ask.size, centre, float(radius), aspect=aspect, angle=turn, wobble=look.wobble))
    return resolve(ask.size, outlines, overlap=ask.overlap)


def _nuclei(rng: np.random.Generator, ask: Request, cells: Cells, kinds: NDArray[np.int64]) -> Floats:
    """Haematoxylin: chromatin clumps, a darker membrane, nucleoli in large pale nuclei."""

    def per_cell(attribute: str) -> Doubles:
        return np.array([getattr(NUCLEI[kind], attribute) for kind in kinds], float)

    depth = per_cell("stain") * rng.lognormal(0, 0.18, len(kinds))
    body = dome(cells, depth, flat=0.92, overlap=ask.overlap)
    clumps = np.float32(0.7) * field(rng, ask.size, 2.0) + np.float32(0.7) * field(rng, ask.size, 4.0)
    nucleoli = np.clip(field(rng, ask.size, 5.0) - np.float32(1.35), 0, 0.8) * np.float32(2.2)
    level = levels(cells)
    rim = np.exp(-(((level - np.float32(0.93)) / np.float32(0.09)) ** 2))
    contrast = lookup(cells, per_cell("clumps"))
    texture = 1 + contrast * (clumps + nucleoli) + lookup(cells, per_cell("rim")) * rim
    stained: Floats = body * np.maximum(texture, np.float32(0.25))
    return stained


def _ground(rng: np.random.Generator, ask: Request, grain: float, nuclei: Floats) -> Floats:
    """Eosin of the tissue between the cells: wavy collagen where there is stroma, granular matter, white holes."""
    long = 60.0 if ask.variant == "stroma" else 35.0
    strands = fibres(rng, ask.size, grain, (long, 4.0), waves=0.45) * np.float32(0.6)
    strands += fibres(rng, ask.size, grain, (long / 2, 1.8), waves=0.45) * np.float32(0.4)
    granular = field(rng, ask.size, 1.8) * np.float32(0.5) + field(rng, ask.size, 9) * np.float32(0.6)
    fibrous = {"stroma": 0.95, "tumour": 0.35, "lymphoid": 0.25, "gland": 0.5}[ask.variant]
    mix = np.clip(fibrous + np.float32(0.35) * field(rng, ask.size, 70), 0, 1)
    density = np.float32(rng.uniform(0.1, 0.34)) * (1 + np.float32(0.5) * (mix * strands + (1 - mix) * granular))
    clefts = np.clip((strands * mix + field(rng, ask.size, 16) * np.float32(0.5) - np.float32(1.25)) * 3, 0, 1)
    holes = np.clip((field(rng, ask.size, 55) - np.float32(rng.uniform(1.2, 2.0))) * 9, 0, 1)
    holes *= np.clip(1 - np.float32(2.5) * blur(nuclei, 7.0), 0, 1)  # nuclei are in tissue, not in holes
    ground: Floats = np.maximum(density, np.float32(0.03)) * (1 - np.maximum(clefts * np.float32(0.8), holes))
    return ground


def _cytoplasm(rng: np.random.Generator, ask: Request, cells: Cells, kinds: NDArray[np.int64]) -> Floats:
    """Eosin of the cells' own bodies, as a soft halo around each nucleus."""
    around = lookup(cells, np.array([NUCLEI[kind].halo for kind in kinds], float))
    granules = 1 + np.float32(0.25) * field(rng, ask.size, 2.2)
    return blur(around, 6.0) * np.float32(2.2) * granules


def _transmit(rng: np.random.Generator, ask: Request, haematoxylin: Floats, eosin: Floats) -> Floats:
    """Light through both stains, (rows, columns, 3); each slide's dyes differ a little from the textbook's."""
    books = np.array([HAEMATOXYLIN, EOSIN])
    between = rng.uniform([0.0, 0.5], [0.8, 1.0])[:, None]
    dyes = books[:, 0] * (1 - between) + books[:, 1] * between + rng.normal(0, 0.03, (2, 3))
    dyes = np.clip(dyes, 0.03, None)
    dyes /= np.sqrt((dyes**2).sum(axis=1, keepdims=True))
    white = rng.uniform([0.93, 0.92, 0.93], [0.97, 0.96, 0.97])
    first, second = blur(haematoxylin, 0.75 * ask.blur), blur(eosin, 0.9 * ask.blur)
    image = np.empty((*ask.size, 3), np.float32)
    for channel in range(3):
        density = first * np.float32(dyes[0, channel]) + second * np.float32(dyes[1, channel])
        image[..., channel] = np.float32(white[channel]) * np.power(np.float32(10), -density)
    return image
