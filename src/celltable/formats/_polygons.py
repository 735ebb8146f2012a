"""Polygons of cells: published ones as lists of numbers, outlines of masks, and drawing them again."""

from __future__ import annotations

from collections.abc import Sequence

from celltable.geometry import polygon


def pack(parts: Sequence[Sequence[float]]) -> bytes:
    """Flat lists x, y, x, y, … as the bytes of the polygon column."""
    return polygon.pack(parts)


def parts_of(packed: bytes) -> list[list[float]]:
    """The inverse of `pack`."""
    return [list(p) for p in polygon.unpack(packed)]


def mask_polygons(counts: bytes, size):
    raise NotImplementedError
