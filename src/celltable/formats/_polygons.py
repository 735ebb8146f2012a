"""Polygons of cells: published ones as lists of numbers, outlines of masks with their holes, and drawing them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    return polygon.pack([np.asarray(p, dtype=np.float64).reshape(-1, 2) for p in parts])


def draw_rings(cells: Sequence[Sequence[Any]], size: tuple[int, int]) -> list[bytes]:
    """The mask of each cell, the union of its rings, drawn as COCO draws polygons."""
    return polygon.many_to_rle(cells, size) if cells else []


def check_counts(counts: Sequence[bytes], size: tuple[int, int]) -> dict[int, str]:
    """Which run lengths are no mask of that size, and why."""
    try:
        rle.areas(list(counts), size)
    except MaskError:
        return {k: reason for k, one in enumerate(counts) if (reason := _broken(one, size))}
    return {}


def _broken(counts: bytes, size: tuple[int, int]) -> str:
    try:
        rle.areas([counts], size)
    except MaskError as exc:
        return str(exc)
    return ""


def parts_of(packed: bytes) -> list[Ring]:
    """The inverse of `pack`."""
    return [np.asarray(p, dtype=np.float64).ravel().tolist() for p in polygon.unpack(packed)]


def mask_parts(counts: bytes, size: tuple[int, int]) -> list[Part]:
    """The outlines of a mask along its pixel edges, largest part first; drawn again they give the same pixels."""
    raise NotImplementedError(outline)


def draw(parts: Sequence[Part], size: tuple[int, int]) -> bytes:
    """The mask of parts with holes, as run lengths."""
    rings = [[p.outer] for p in parts] + [[h] for p in parts for h in p.holes]
    drawn = polygon.many_to_rle(rings, size)
    if len(drawn) == 1:
        return drawn[0]
    mask = np.zeros(size, bool)
    for counts in drawn[: len(parts)]:
        mask |= rle.decode(counts, size)
    for counts in drawn[len(parts) :]:
        mask &= ~rle.decode(counts, size)
    return rle.encode(mask)


def mask_polygons(counts: bytes, size: tuple[int, int]) -> list[Ring] | None:
    """A mask as polygons the way COCO has them: one ring a part; None where it has a hole, which COCO cannot say."""
    parts = mask_parts(counts, size)
    return None if not parts or any(p.holes for p in parts) else [p.outer for p in parts]
