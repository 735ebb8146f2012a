"""Polygons of cells: published ones as lists of numbers, outlines of masks with holes, and drawing them as masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable._native import geometry, writing
from celltable.cells import Instances
from celltable.geometry import polygon, rle
from celltable.geometry.masks import Masks

Offsets = NDArray[np.int64]
Ring = list[float]  # x, y, x, y, … not closed: the first point is not repeated


@dataclass(frozen=True, slots=True)
class Part:
    """A connected part of a cell: its outer ring and the rings of its holes."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


def pack(parts: Sequence[Sequence[float] | NDArray[np.float64]]) -> bytes:
    """Encode rings as the bytes of the polygon column."""
    return polygon.pack(parts)


def parts_of(packed: bytes) -> list[Ring]:
    """Decode what `pack` encoded."""
    return [np.asarray(p, dtype=np.float64).ravel().tolist() for p in polygon.unpack(packed)]


@dataclass(frozen=True, slots=True)
class Shapes:
    """Polygons of cells as flat arrays.

    `xy` holds x, y, x, y, … (int32 for outlines of masks, float64 for published polygons) of rings that are not closed.
    Ring r has the points from ``ring_first[r]`` up to ``ring_first[r + 1]``; likewise parts have rings (the outer one
    first, then those of holes), and cells have parts.
    """

    xy: NDArray[np.int32] | NDArray[np.float64]
    ring_first: Offsets
    part_first: Offsets
    cell_first: Offsets

    @property
    def parts(self) -> NDArray[np.int64]:
        """The number of parts of each cell."""
        return _lengths(self.cell_first)

    @property
    def holed(self) -> NDArray[np.bool_]:
        """Whether each cell has a hole in any part."""
        before = np.concatenate([[0], np.cumsum(_lengths(self.part_first) > 1)])[self.cell_first]
        return _lengths(before) > 0

    @property
    def first_holed(self) -> NDArray[np.bool_]:
        """Whether each cell has a hole in its first part."""
        found = np.zeros(len(self.parts), bool)
        full = self.parts > 0
        found[full] = _lengths(self.part_first)[self.cell_first[:-1][full]] > 1
        return found

    def among(self, where: NDArray[np.bool_]) -> Shapes:
        """Spread the cells to the positions in `where` among other cells, which get no parts."""
        if where.all():
            return self
        parts = np.zeros(len(where), np.int64)
        parts[where] = self.parts
        return replace(self, cell_first=_first(parts))

    def largest(self) -> Shapes:
        """Keep the outer ring of the first part of each cell."""
        if len(self.ring_first) == len(self.cell_first) and (self.parts == 1).all():
            return self
        full = self.parts > 0
        rings = self.part_first[self.cell_first[:-1][full]]
        points, ring_first = _gather(self.ring_first, rings)
        xy: Any = self.xy.reshape(-1, 2)[points].ravel()
        return Shapes(xy, ring_first, np.arange(len(rings) + 1), _first(full.astype(np.int64)))

    def only(self, cells: NDArray[np.bool_]) -> Shapes:
        """Keep the parts of some cells; the others get no parts."""
        if cells.all():
            return self
        parts, _ = _gather(self.cell_first, np.flatnonzero(cells))
        rings, part_first = _gather(self.part_first, parts)
        points, ring_first = _gather(self.ring_first, rings)
        xy: Any = self.xy.reshape(-1, 2)[points].ravel()
        return Shapes(xy, ring_first, part_first, _first(np.where(cells, self.parts, 0)))


def _lengths(first: Offsets) -> NDArray[np.int64]:
    return first[1:] - first[:-1]  # np.diff takes ten times as long for few values


def _first(lengths: NDArray[np.int64]) -> Offsets:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _gather(first: Offsets, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], Offsets]:
    """Locate the members of the chosen groups, and compute their new offsets."""
    lengths = _lengths(first)[chosen]
    ends = _first(lengths)
    return np.arange(ends[-1]) + np.repeat(first[:-1][chosen] - ends[:-1], lengths), ends


def outlines(masks: Masks, where: NDArray[np.bool_] | None = None, *, simple: bool = False) -> Shapes:
    """Outline the parts of each mask along pixel edges, largest first; drawing them gives the same pixels.

    Cells outside `where` get no parts. With `simple`, no ring touches itself: a pocket that is open only at a corner is
    a hole, and all polygons are valid in the sense of OGC's Simple Features.
    """
    if where is not None and not where.all():
        return outlines(masks.take(where), simple=simple).among(where)
    found = geometry.outlines(masks, *masks.size, 4)
    return Shapes(*writing.grouped(*found, simple))


def published(cells: Instances) -> Shapes:
    """Take the published polygons of cells, each ring as a part; cells without one get no parts."""
    packed = cells.column("polygon") if cells.polygon is not None else []
    where = np.zeros(len(cells), bool)
    where[: len(packed)] = [p is not None for p in packed]
    xy, ring_first, cell_first = polygon.unpack_flat([p for p in packed if p is not None])
    return Shapes(xy, ring_first, np.arange(len(ring_first)), cell_first).among(where)


def draw(parts: Sequence[Part], size: tuple[int, int]) -> bytes:
    """Draw parts with holes as a mask in run lengths."""
    if not any(p.holes for p in parts):
        return polygon.to_rle([p.outer for p in parts], size)
    drawn = [_draw_part(p, size) for p in parts]
    return Masks.of(drawn, size).union()


def _draw_part(part: Part, size: tuple[int, int]) -> bytes:
    outer = polygon.to_rle([part.outer], size)
    return rle.difference(outer, polygon.to_rle(part.holes, size), size) if part.holes else outer
