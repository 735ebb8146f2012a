"""Nineteen places in a cell where a protein can be, each drawn from the same anatomy.

Names and order are those of the Human Protein Atlas single-cell classification challenge (2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._noise import field
from ._scene import Bools, Floats, Labels
from ._shapes import Cells, Doubles, levels


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Maps of (rows, columns) from which every channel is drawn, and the place of each cell's parts."""

    labels: Labels
    count: int
    nucleus: Bools
    cytoplasm: Bools
    depth: Floats  # 0 at the plasma membrane (and outside) to 1 at the cell's centre
    shell: Floats  # 1 on the nuclear membrane, falling off within a few pixels
    nucleoli: Floats
    microtubules: Floats
    reticulum: Floats
    fine: Floats
    coarse: Floats
    hubs: Doubles  # (cells, 2): row and column of the centrosome, beside the nucleus
    reach: Doubles  # (cells,): radius of each cell, px

    @classmethod
    def of(cls, rng: np.random.Generator, cells: Cells, cores: Cells, centres: Doubles, reach: Doubles) -> Anatomy:
        """Lay out the organelles of resolved cells and nuclei."""
        size = (int(cells.label_map.shape[0]), int(cells.label_map.shape[1]))
        level, core = levels(cells), levels(cores)
        nucleus = cores.label_map > 0
        cytoplasm = (cells.label_map > 0) & ~nucleus
        depth = np.clip(1 - level, 0, 1)
        fine, coarse = field(rng, size, 2.0), field(rng, size, 6.0)
        turn = rng.uniform(0, 2 * np.pi, len(centres))
        hubs = centres + np.stack([np.sin(turn), np.cos(turn)], 1) * (0.55 * reach)[:, None]
        perinuclear = np.clip(depth * np.float32(1.6), 0, 1)
        return cls(
            labels=cells.label_map,
            count=len(cells.masks),
            nucleus=nucleus,
            cytoplasm=cytoplasm,
            depth=depth,
            shell=np.exp(-(((core - np.float32(0.95)) / np.float32(0.07)) ** 2)) * nucleus,
            nucleoli=np.clip((coarse - np.float32(0.95)) * 3, 0, 1) * (core < 0.8),
            microtubules=cytoplasm * (np.float32(0.2) + np.float32(0.8) * perinuclear) * _threads(rng, size, 6.0, 0.13)
            + np.float32(0.03) * nucleus,
            reticulum=cytoplasm
            * (np.float32(0.15) + perinuclear**2)
            * np.clip(np.float32(0.55) + np.float32(0.4) * fine + np.float32(0.2) * coarse, 0.05, 2)
            + np.float32(0.06) * nucleus,
            fine=fine,
            coarse=coarse,
            hubs=hubs,
            reach=reach,
        )

    def per_cell(self, rng: np.random.Generator, vary: float) -> Floats:
        """A brightness of each cell, around 1, on its pixels; 0 outside."""
        table = np.concatenate([[0.0], rng.lognormal(0, vary, self.count)]).astype(np.float32)
        return table[self.labels]

    def around_hubs(self, radius: float) -> Floats:
        """1 at each cell's centrosome, falling off over `radius` cell radii."""
        image = np.zeros(self.labels.shape, np.float32)
        rows, cols = (np.arange(n, dtype=np.float32) for n in self.labels.shape)
        for (y, x), reach in zip(self.hubs, self.reach, strict=True):
            width = max(radius * float(reach), 0.8)
            r = _span(float(y), 3 * width, len(rows))
            c = _span(float(x), 3 * width, len(cols))
            fall_y = np.exp(-(((rows[r] - np.float32(y)) / np.float32(width)) ** 2))
            fall_x = np.exp(-(((cols[c] - np.float32(x)) / np.float32(width)) ** 2))
            image[r, c] = np.maximum(image[r, c], fall_y[:, None] * fall_x[None, :])
        return image


def _span(centre: float, reach: float, n: int) -> slice:
    low = min(n, max(0, int(centre - reach)))
    return slice(low, max(low, min(n, int(centre + reach) + 2)))


def _threads(rng: np.random.Generator, size: tuple[int, int], scale: float, width: float) -> Floats:
    """A web of thin curved filaments: the zero lines of three random fields."""
    web = np.zeros(size, np.float32)
    for stretch in (1.0, 1.7, 0.8):
        line = np.abs(field(rng, size, scale * stretch)) / np.float32(width / stretch)
        web += np.exp(-(line**2))
    return web


def _dots(rng: np.random.Generator, body: Anatomy, scale: float, threshold: float) -> Floats:
    size = (int(body.labels.shape[0]), int(body.labels.shape[1]))
    return np.clip((field(rng, size, scale) - np.float32(threshold)) * 2, 0, 1)


def _stress(rng: np.random.Generator, body: Anatomy) -> Floats:
    from ._noise import fibres

    size = (int(body.labels.shape[0]), int(body.labels.shape[1]))
    bundles = np.clip(fibres(rng, size, float(rng.uniform(0, np.pi)), (60, 2.2), waves=0.4), 0, 2)
    return np.where(body.labels > 0, np.float32(0.3) + np.float32(0.35) * bundles, 0).astype(np.float32)


def _spindle(rng: np.random.Generator, body: Anatomy) -> Floats:
    tubes = np.clip(np.float32(0.8) + np.float32(0.5) * body.fine, 0, 2)
    poles: Floats = body.around_hubs(0.25) * tubes * (body.labels > 0)
    return poles


def _membrane(rng: np.random.Generator, body: Anatomy) -> Floats:
    rim = np.exp(-((body.depth / np.float32(0.07)) ** 2)) * body.cytoplasm
    return rim * (1 + np.float32(0.3) * body.coarse) + np.float32(0.15) * body.cytoplasm


_PLACES: dict[str, Callable[[np.random.Generator, Anatomy], Floats]] = {
    "Nucleoplasm": lambda rng, b: b.nucleus * (np.float32(0.55) + np.float32(0.12) * b.fine - 0.35 * b.nucleoli),
    "Nuclear membrane": lambda rng, b: b.shell + np.float32(0.2) * b.nucleus,
    "Nucleoli": lambda rng, b: b.nucleoli + np.float32(0.08) * b.nucleus,
    "Nucleoli fibrillar center": lambda rng, b: b.nucleoli * _dots(rng, b, 2.0, 0.5) * 1.4 + 0.05 * b.nucleus,
    "Nuclear speckles": lambda rng, b: b.nucleus * (_dots(rng, b, 3.0, 0.8) + np.float32(0.12)),
    "Nuclear bodies": lambda rng, b: b.nucleus * (_dots(rng, b, 2.8, 1.7) * 1.3 + np.float32(0.06)),
    "Endoplasmic reticulum": lambda rng, b: b.reticulum * np.float32(1.1),
    "Golgi apparatus": lambda rng, b: b.cytoplasm * b.around_hubs(0.22) * (0.3 + 1.6 * _dots(rng, b, 3.0, 0.0)),
    "Intermediate filaments": lambda rng, b: b.cytoplasm * b.depth * 1.5 * _threads(rng, _size(b), 12.0, 0.14),
    "Actin filaments": _stress,
    "Microtubules": lambda rng, b: b.microtubules,
    "Mitotic spindle": _spindle,
    "Centrosome": lambda rng, b: b.around_hubs(0.035) * 1.5 * (b.labels > 0) + 0.03 * b.cytoplasm,
    "Plasma membrane": _membrane,
    "Mitochondria": lambda rng, b: (
        b.cytoplasm * np.clip(b.depth * 2, 0.1, 1) * np.clip(_threads(rng, _size(b), 4.5, 0.35) - 0.7, 0, 1)
    ),
    "Aggresome": lambda rng, b: b.cytoplasm * (b.around_hubs(0.12) * 1.4 + np.float32(0.05)),
    "Cytosol": lambda rng, b: b.cytoplasm * np.clip(0.3 + 0.5 * b.depth + 0.08 * b.fine + 0.05 * b.coarse, 0, 1),
    "Vesicles and punctate cytosolic patterns": lambda rng, b: b.cytoplasm * (_dots(rng, b, 2.2, 1.5) * 1.3 + 0.04),
    "Negative": lambda rng, b: np.float32(0.02) * (b.labels > 0),
}
LOCATIONS = tuple(_PLACES)


def _size(body: Anatomy) -> tuple[int, int]:
    return int(body.labels.shape[0]), int(body.labels.shape[1])


def protein(rng: np.random.Generator, body: Anatomy, sets: tuple[tuple[str, ...], ...]) -> Floats:
    """The green channel: each location's pattern in the cells that show it, over a faint background."""
    image: Floats = np.float32(0.02) * (body.labels > 0).astype(np.float32)
    for name in sorted({name for names in sets for name in names}, key=LOCATIONS.index):
        shows = np.array([False, *(name in names for names in sets)])
        image = image + np.asarray(_PLACES[name](rng, body), np.float32) * shows[body.labels]
    return image
