"""Polygons of cells: published ones as lists of numbers, outlines of masks with their holes, and drawing them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celltable.errors import MaskError
from celltable.geometry import outline, polygon, rle

Ring = list[float]  # x, y, x, y, … not closed: the first point is not repeated


@dataclass(frozen=True, slots=True)
class Part:
    """A connected part of a cell: its outer ring, the rings of its holes, its area in px²."""

    outer: Ring
    holes: tuple[Ring, ...] = ()
    area: float = 0.0


def pack(parts: Sequence[Sequence[float] | NDArray[np.float64]]) -> bytes:
    """Rings as the bytes of the polygon column."""
    return polygon.pack(parts)


def check_counts(counts: Sequence[bytes], size: tuple[int, int]) -> dict[int, str]:
    """Which run lengths are no mask of that size, and why."""
    try:
        rle.check(counts, size)
    except MaskError:
        return {k: reason for k, one in enumerate(counts) if (reason := _broken(one, size))}
    return {}


def _broken(counts: bytes, size: tuple[int, int]) -> str:
    try:
        rle.check([counts], size)
    except MaskError as exc:
        return str(exc)
    return ""


def parts_of(packed: bytes) -> list[Ring]:
    """The inverse of `pack`."""
    return [np.asarray(p, dtype=np.float64).ravel().tolist() for p in polygon.unpack(packed)]


def outlines(counts: Sequence[bytes], size: tuple[int, int]) -> list[list[Part]]:
    """The parts of each mask, outlined along pixel edges, the largest first; drawn again they give the same pixels."""
    found = []
    for rings in outline.polygons(counts, size):
        if len(rings) == 1:
            found.append([Part(_flat(rings[0]))])
            continue
        parts = [
            Part(_flat(outer), tuple(_flat(h) for h in holes), outer.area - sum(h.area for h in holes))
            for outer, holes in outline.grouped(rings)
        ]
        found.append(sorted(parts, key=lambda p: -p.area))
    return found


def _flat(ring: outline.Ring) -> Ring:
    return list(ring.points_xy.ravel().tolist())


def draw(parts: Sequence[Part], size: tuple[int, int]) -> bytes:
    """The mask of parts with holes, as run lengths."""
    if not any(p.holes for p in parts):
        return polygon.to_rle([p.outer for p in parts], size)
    drawn = [_draw_part(p, size) for p in parts]
    return rle.union(drawn, size)


def _draw_part(part: Part, size: tuple[int, int]) -> bytes:
    outer = polygon.to_rle([part.outer], size)
    return rle.difference(outer, polygon.to_rle(part.holes, size), size) if part.holes else outer


def without_holes(parts: Sequence[Part]) -> list[Ring] | None:
    """A mask as polygons the way COCO has them: one ring a part; None where it has a hole, which COCO cannot say."""
    return None if not parts or any(p.holes for p in parts) else [p.outer for p in parts]
