"""Trace masks as polygons along pixel edges, and turn drawn outlines into cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable._native import geometry as _core

from .label_map import components, measure
from .masks import Masks


@dataclass(frozen=True, slots=True)
class Ring:
    """A closed outline: `points_xy` int32 (n, 2), corners in order without repeating the first; `hole` or outer."""

    points_xy: NDArray[np.int32]
    hole: bool

    @property
    def area(self) -> float:
        """Enclosed area, px²."""
        x, y = self.points_xy.astype(np.int64).T
        return float(abs(int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2)


def polygons(masks: Masks, connectivity: int = 4) -> list[list[Ring]]:
    """Trace the rings of each mask along the edges of its pixels: the polygons whose pixels are exactly the mask.

    Coordinates are those of pixel corners, so the single pixel (0, 0) is (0, 0), (1, 0), (1, 1), (0, 1). Drawn by
    pycocotools' rule, the outer rings minus the holes are the mask again. Outer rings run clockwise on the screen,
    holes counterclockwise.

    Parameters
    ----------
    masks
        The masks of one image.
    connectivity
        4: pixels that meet only at a corner get separate rings; 8: one ring that touches itself.
    """
    xy, ring_first, mask_first, is_hole = _core.outlines(masks, *masks.size, connectivity)
    bounds = zip(ring_first[:-1].tolist(), ring_first[1:].tolist(), is_hole.tolist(), strict=True)
    rings = [Ring(xy[a:b], bool(hole)) for a, b, hole in bounds]
    return [rings[a:b] for a, b in zip(mask_first[:-1].tolist(), mask_first[1:].tolist(), strict=True)]


def grouped(rings: Sequence[Ring]) -> list[tuple[Ring, list[Ring]]]:
    """Group each outer ring of one mask with the holes directly inside it."""
    outer = sorted((r for r in rings if not r.hole), key=lambda r: r.area)
    held: list[list[Ring]] = [[] for _ in outer]
    for hole in (r for r in rings if r.hole):
        x, y = _inner_point(hole)
        home = next((k for k, r in enumerate(outer) if r.area > hole.area and _inside(x, y, r.points_xy)), None)
        if home is not None:
            held[home].append(hole)
    order = sorted(range(len(outer)), key=lambda k: tuple(outer[k].points_xy[0].tolist()))
    return [(outer[k], held[k]) for k in order]


def _inner_point(ring: Ring) -> tuple[float, float]:
    """Return the centre of the pixel inside the ring at its uppermost, then leftmost corner."""
    points = ring.points_xy
    top = points[np.lexsort((points[:, 0], points[:, 1]))[0]]
    return float(top[0]) + 0.5, float(top[1]) + 0.5


def _inside(x: float, y: float, points_xy: NDArray[np.int32]) -> bool:
    x0, y0 = points_xy.T.astype(float)
    x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
    crosses = ((y0 > y) != (y1 > y)) & (x0 > x)  # edges are vertical or horizontal
    return bool(np.count_nonzero(crosses & (x0 == x1)) % 2)


def fill_outlines(
    line: ArrayLike,
    *,
    connectivity: int = 4,
    drop: Literal["border", "largest", "none"] = "border",
    min_area: int = 1,
) -> NDArray[np.int32]:
    """Label the cells that drawn outlines enclose: the components of non-line pixels, without the background.

    Parameters
    ----------
    line
        Booleans (row, column), True on the outlines, which do not belong to any cell.
    connectivity
        Connectivity of the cells: 4 if one-pixel diagonal lines must separate them.
    drop
        Which components are background: those that touch the image's ``border``, the ``largest`` one, or ``none``.
    min_area
        Smaller components are dropped as specks, px².

    Returns
    -------
    int32 (row, column), labels 1..n in reading order.

    >>> fill_outlines(np.array([[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 1, 1]], bool)).tolist()
    [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    """
    free = components(~np.asarray(line, dtype=bool), connectivity)
    measures = measure(free)
    keep = measures.areas >= min_area
    if drop == "border" and free.size:
        edge = np.unique(np.concatenate([free[0], free[-1], free[:, 0], free[:, -1]]))
        keep &= ~np.isin(measures.ids, edge)
    elif drop == "largest" and measures.ids.size:
        keep[np.argmax(measures.areas)] = False
    table = np.zeros(measures.ids.size + 1, np.int32)
    table[measures.ids[keep]] = np.arange(1, int(keep.sum()) + 1, dtype=np.int32)
    return table[free]
