"""Whole cells in four colours: red microtubules, green protein of interest, blue nucleus, yellow reticulum.

The location class decides where the protein is; classes are named as in the Human Protein Atlas single-cell challenge.
An image label means that some cells of the image show the pattern, never that all do.
"""

from __future__ import annotations

import numpy as np

from ._locations import LOCATIONS, Anatomy, protein
from ._noise import blur, field, illumination
from ._scene import Bools, Drawing, Floats, Request
from ._shapes import Cells, Doubles, Outline, blob, largest, place, radii, resolve, tight

VARIANTS = ("mixed", *LOCATIONS)
PIXEL_SIZE_UM = 0.16
MIN_NUCLEUS = 4  # px that must show of a nucleus
_SHARE = np.array(  # images of each location in the challenge's training table, 0-18
    [8797, 1095, 2451, 1262, 1425, 1792, 775, 1846, 964, 1011, 818, 78, 1734, 3216, 2013, 252, 5685, 621, 34], float
)


def draw(rng: np.random.Generator, ask: Request) -> Drawing:
    """Cells with one nucleus each; both masks carry the same ids."""
    size = radii(rng, ask.size, ask.cells, 46.0, fill=0.62, vary=0.16)
    at = place(rng, ask.size, size, touching=ask.touching, gap=0.62 if ask.overlap else 0.82)
    bodies = [
        blob(rng, ask.size, c, float(r), aspect=float(rng.uniform(1, 1.9)), wobble=0.1, harmonics=7)
        for c, r in zip(at, size, strict=True)
    ]
    nuclei = [_nucleus(rng, ask, c, float(r), b) for c, r, b in zip(at, size, bodies, strict=True)]
    cells, cores = _pair(ask, bodies, nuclei)
    sets = _classes(rng, ask, len(cells.masks))
    centres = at[list(cells.kept)]
    body = Anatomy.of(rng, cells, cores, centres, size[list(cells.kept)])
    image = _channels(rng, ask, body, sets)
    return Drawing(
        image, cells.masks, cells.label_map, sets, 1800, 5, nuclei=cores.masks, nuclei_label_map=cores.label_map
    )


def _nucleus(rng: np.random.Generator, ask: Request, centre: Doubles, radius: float, cell: Outline) -> Outline:
    at = centre + rng.normal(0, 0.08 * radius, 2)
    turn = cell.angle + float(rng.normal(0, 0.3))
    return blob(rng, ask.size, at, radius * 0.44, aspect=float(rng.uniform(1, 1.6)), angle=turn, wobble=0.06)


def _pair(ask: Request, bodies: list[Outline], nuclei: list[Outline]) -> tuple[Cells, Cells]:
    """Keep the cells that show a nucleus, with the same ids for both; a nucleus never leaves its cell."""
    keep = list(range(len(bodies)))
    while True:  # a cell without a nucleus goes, and its pixels to its neighbours
        cells = resolve(ask.size, [bodies[i] for i in keep], overlap=ask.overlap)
        keep = [keep[i] for i in cells.kept]
        parts = [_core(nuclei[i], cells, number) for number, i in enumerate(keep, 1)]
        shown = [np.count_nonzero(part) >= MIN_NUCLEUS for part in parts]
        if all(shown):
            break
        keep = [i for i, seen in zip(keep, shown, strict=True) if seen]
    label_map = np.zeros(ask.size, np.int32)
    for number, (index, part) in enumerate(zip(keep, parts, strict=True), 1):
        label_map[nuclei[index].box][part] = number
    masks = tuple(tight(nuclei[i].row, nuclei[i].col, part) for i, part in zip(keep, parts, strict=True))
    cores = Cells(tuple(nuclei[i] for i in keep), masks, label_map, tuple(keep))
    return Cells(cells.outlines, cells.masks, cells.label_map, tuple(keep)), cores


def _core(nucleus: Outline, cells: Cells, number: int) -> Bools:
    """What shows of a nucleus within the cell of that number."""
    return largest((nucleus.level < 1) & (cells.label_map[nucleus.box] == number))


def _classes(rng: np.random.Generator, ask: Request, cells: int) -> tuple[tuple[str, ...], ...]:
    """Locations of each cell: one or two to an image, most cells show the first, some also or only the second."""
    if ask.variant != "mixed":
        return ((ask.variant,),) * cells
    first = str(rng.choice(LOCATIONS, p=_SHARE / _SHARE.sum()))
    if first == "Negative" or rng.random() < 0.45:
        return ((first,),) * cells
    others = [name for name in LOCATIONS if name not in (first, "Negative", "Mitotic spindle")]
    second = str(rng.choice(others))
    ways = ((first,), (first, second), (second,))
    return tuple(ways[way] for way in rng.choice(3, cells, p=(0.5, 0.35, 0.15)))


def _channels(rng: np.random.Generator, ask: Request, body: Anatomy, sets: tuple[tuple[str, ...], ...]) -> Floats:
    image = np.empty((*ask.size, 4), np.float32)
    image[..., 0] = body.per_cell(rng, 0.45) * body.microtubules * np.float32(0.65)
    image[..., 1] = body.per_cell(rng, 0.3) * protein(rng, body, sets) * np.float32(rng.uniform(0.35, 0.9))
    chromatin = 1 + np.float32(0.16) * field(rng, ask.size, 2.2) - np.float32(0.6) * body.nucleoli
    image[..., 2] = body.per_cell(rng, 0.25) * body.nucleus * chromatin * np.float32(0.42)
    image[..., 3] = body.per_cell(rng, 0.4) * body.reticulum * np.float32(0.6)
    light = illumination(rng, ask.size, 0.25)
    for channel in range(4):
        sheet = blur(np.maximum(image[..., channel], 0), 0.7 * ask.blur)
        image[..., channel] = sheet * light + np.float32(0.004)  # confocal: no haze
    return image
