"""Polygons: drawn exactly as pycocotools draws them, measured, and packed losslessly for storage.

A cell's polygon is a list of parts; a part is float64 (n, 2) of points (x, y), or the flat list x, y, x, y, … of COCO.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable._native import geometry as _core
from celltable.errors import MaskError

from .masks import Masks, Size

Parts = Sequence[ArrayLike]
Floats = NDArray[np.float64]


def to_rle(parts: Parts, size: Size) -> bytes:
    """Draw one cell: the union of its parts, bit-equal to ``merge(frPyObjects(parts, height, width))``.

    Raises
    ------
    MaskError
        If a part has fewer than three points, an odd number of coordinates, or a vertex that is not a finite number.
    """
    return to_masks([parts], size)[0]


def to_masks(cells: Sequence[Parts], size: Size) -> Masks:
    """Draw many cells at once, each as `to_rle` does."""
    xy, part_first, mask_first = flat(cells)
    lengths = np.diff(part_first)
    if lengths.size and int(lengths.min()) < 3:
        raise MaskError(_short(int(lengths.min())))
    return flat_to_masks(xy, part_first, mask_first, size)


def _short(points: int) -> str:
    hint = " (four numbers are a box: use boxes_to_masks)" if points == 2 else ""
    return f"a polygon part has {points} points; expected three or more{hint}"


def flat_to_masks(xy: ArrayLike, part_first: ArrayLike, mask_first: ArrayLike, size: Size) -> Masks:
    """Draw cells from flat arrays: coordinates, first point per part, first part per cell, both with a final end."""
    counts = _core.polygons_to_rle(
        np.ascontiguousarray(xy, np.float64).ravel(), np.ascontiguousarray(part_first, np.int64),
        np.ascontiguousarray(mask_first, np.int64), int(size[0]), int(size[1]),
    )  # fmt: skip
    return Masks(*counts, size)


def boxes_to_masks(boxes: ArrayLike, size: Size) -> Masks:
    """Draw boxes (n, 4): x, y, width, height, by the same rule as polygons of their four corners."""
    x, y, w, h = np.asarray(boxes, np.float64).reshape(-1, 4).T
    corners = np.stack([x, y, x, y + h, x + w, y + h, x + w, y], axis=1)
    n = len(corners)
    return flat_to_masks(corners, np.arange(n + 1) * 4, np.arange(n + 1), size)


def flat(cells: Sequence[Parts]) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Flatten cells into arrays: coordinates, first point per part, first part per cell, both with a final end."""
    if flattened := _core.flat_polygons(cells):
        return flattened
    arrays = [_part(p) for parts in cells for p in parts]
    lengths = [a.size // 2 for a in arrays]
    xy = np.concatenate(arrays) if arrays else np.zeros(0)
    return xy, np.cumsum([0, *lengths], dtype=np.int64), np.cumsum([0, *(len(p) for p in cells)], dtype=np.int64)


def _part(points: ArrayLike) -> Floats:
    array = np.asarray(points, np.float64).ravel()
    if array.size % 2:
        raise MaskError(f"a polygon part has {array.size} coordinates; expected pairs x, y")
    return array


def areas(cells: Sequence[Parts]) -> Floats:
    """Compute the area of each cell's polygon, px²: the sum of the absolute shoelace areas of its parts."""
    return np.array([sum(_shoelace(_part(p)) for p in parts) for parts in cells], np.float64)


def _shoelace(part: Floats) -> float:
    x, y = part[::2], part[1::2]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def pack(parts: Parts) -> bytes:
    """Pack one cell's polygon losslessly into a few bytes: as differences in hundredths if these are exact.

    >>> unpack(pack([[0, 0, 10.5, 0, 10.5, 7.25]]))[0].tolist()
    [[0.0, 0.0], [10.5, 0.0], [10.5, 7.25]]
    """
    return pack_many([parts])[0]


def unpack(packed: bytes) -> list[Floats]:
    """Unpack a polygon: float64 (n, 2) per part; the inverse of `pack`."""
    return unpack_many([packed])[0]


def pack_many(cells: Sequence[Parts]) -> list[bytes]:
    """Pack many cells at once."""
    return pack_flat(*flat(cells))


def pack_flat(xy: ArrayLike, part_first: ArrayLike, mask_first: ArrayLike) -> list[bytes]:
    """Pack cells given as flat arrays."""
    return _core.pack_polygons(
        np.ascontiguousarray(xy, np.float64).ravel(), np.ascontiguousarray(part_first, np.int64),
        np.ascontiguousarray(mask_first, np.int64),
    )  # fmt: skip


def unpack_flat(packed: Sequence[bytes]) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Unpack many polygons into flat arrays: coordinates, first point of each part, first part of each cell."""
    xy, part_first, mask_first = _core.unpack_polygons(packed)
    return xy, part_first, mask_first


def unpack_many(packed: Sequence[bytes]) -> list[list[Floats]]:
    """Unpack many polygons at once."""
    xy, part_first, mask_first = unpack_flat(packed)
    points: Any = xy.reshape(-1, 2)
    parts = [points[a:b] for a, b in zip(part_first[:-1].tolist(), part_first[1:].tolist(), strict=True)]
    return [parts[a:b] for a, b in zip(mask_first[:-1].tolist(), mask_first[1:].tolist(), strict=True)]
