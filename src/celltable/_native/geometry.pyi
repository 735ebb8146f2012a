"""Geometry kernels; use them through celltable.geometry.

Masks are lists of compressed counts with the height and width of their image. An invalid mask raises MaskError.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_Ints = NDArray[np.int64]
_Cells = tuple[_Ints, _Ints, NDArray[np.int32]]
_Boxes = NDArray[np.int32]
_Floats = NDArray[np.float64]
_Buffers = tuple[NDArray[np.uint8], _Ints]  # concatenated run lengths, and n + 1 offsets

class _Masks(Protocol):
    """Run lengths of masks, such as celltable.geometry.masks.Masks."""

    data: NDArray[np.uint8]
    offsets: _Ints

# Label maps

def label_rles(map: NDArray[Any], transposed: bool) -> tuple[_Ints, _Buffers, _Ints, _Boxes]:
    """Encode every label: ids ascending, counts, areas, boxes (n, 4) x y w h."""

def label_measures(map: NDArray[Any]) -> tuple[_Ints, _Ints, _Boxes, _Floats]:
    """Measure every label: ids ascending, areas, boxes (n, 4), centroids (n, 2) x y."""

def components(map: NDArray[Any], connectivity: int) -> tuple[NDArray[np.int32], int]:
    """Label the components of equal non-zero value in reading order; return the map and their number."""

def layer_cells(
    stack: NDArray[Any], layers: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], _Ints, _Ints, int, int]:
    """Number the cells of a stack of label maps: the fields of celltable.geometry.label_map.Layers."""

# Masks

def encode(mask: NDArray[np.uint8], transposed: bool) -> bytes:
    """Encode one mask; any non-zero pixel belongs to it."""

def decode(counts: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """Decode one mask to 0 and 1 (height, width)."""

def to_runs(counts: bytes, total: int) -> tuple[_Ints, _Ints]:
    """Return starts and lengths of the runs of one mask of `total` pixels."""

def from_runs(starts: _Ints, lengths: _Ints, total: int) -> bytes:
    """Encode ascending, disjoint runs; the inverse of `to_runs`."""

def measures(masks: _Masks, height: int, width: int) -> tuple[_Ints, _Boxes]:
    """Measure areas (n,) and tight boxes (n, 4) x y w h."""

def take(masks: _Masks, where: _Ints) -> _Buffers:
    """Copy the masks at some positions, in that order. Raises IndexError."""

def faults(masks: _Masks, height: int, width: int) -> dict[int, str]:
    """Say which masks are not valid for the size, and why."""

def paint(
    masks: _Masks, height: int, width: int, labels: NDArray[np.int32], order: _Ints
) -> tuple[NDArray[np.int32], int, int]:
    """Paint masks in `order`, later over earlier; return the map, and the pixels and cells lost to later masks."""

def merge(masks: _Masks, height: int, width: int, intersect: bool) -> bytes:
    """Unite masks, or intersect them."""

def subtract(a: bytes, b: bytes, height: int, width: int) -> bytes:
    """Keep the pixels of `a` that are not in `b`."""

def window(
    masks: _Masks, height: int, width: int, x: int, y: int, box_width: int, box_height: int, paste: bool
) -> _Buffers:
    """Crop masks to a window of the image, or paste masks of the window into the image."""

# Shapes of masks

def parts(masks: _Masks, height: int, width: int, connectivity: int) -> tuple[_Buffers, _Ints]:
    """Split masks into connected parts, in column-major order of first pixels: all parts, first part per mask."""

def part_numbers(masks: _Masks, height: int, width: int) -> tuple[_Ints, _Ints]:
    """Count the parts of each mask under 4- and under 8-connectivity."""

def holes(
    masks: _Masks, height: int, width: int, connectivity: int, fill: bool
) -> tuple[_Ints, _Ints, _Ints, _Buffers]:
    """Return the number of holes, their pixels, the largest, and, if `fill`, the masks without them."""

def hull_areas(masks: _Masks, height: int, width: int) -> _Floats:
    """Compute the area of the convex hull of each mask's pixel corners, px²."""

# Outlines and polygons

def outlines(
    masks: _Masks, height: int, width: int, connectivity: int
) -> tuple[NDArray[np.int32], _Ints, _Ints, NDArray[np.uint8]]:
    """Trace rings along pixel edges: points (n, 2), first point per ring, first ring per mask, 1 for holes."""

def flat_polygons(cells: Sequence[Any]) -> tuple[_Floats, _Ints, _Ints] | tuple[()]:
    """Flatten cells of parts of coordinates: xy, first point per part, first part per cell; () if left to NumPy."""

def polygons_to_rle(xy: _Floats, part_first: _Ints, mask_first: _Ints, height: int, width: int) -> _Buffers:
    """Draw each cell, the union of its parts, by the rule of maskApi.c."""

def pack_polygons(xy: _Floats, part_first: _Ints, mask_first: _Ints) -> list[bytes]:
    """Pack each cell losslessly into a few bytes."""

def unpack_polygons(packed: Sequence[bytes]) -> tuple[_Floats, _Ints, _Ints]:
    """Unpack to xy, first point per part, first part per cell."""

# Overlaps

def iou(a: _Masks, b: _Masks, height: int, width: int, iscrowd: NDArray[np.uint8]) -> _Floats:
    """Compute the IoU of every pair (len(a), len(b)); over the area of the mask of `a` where `b` is a crowd."""

def disjoint(masks: _Masks, height: int, width: int) -> bool:
    """Return whether no two masks share pixels."""

def overlap_rles(
    a: _Masks, b: _Masks, height: int, width: int
) -> tuple[_Ints, _Boxes, _Ints, _Boxes, _Ints, _Ints, _Ints]:
    """Return areas and boxes of both sides, then positions on both sides and shared pixels of overlapping pairs."""

class Overlaps:
    """The overlap table of two label maps that are read strip by strip."""

    def __init__(self) -> None: ...
    def add(self, a: NDArray[Any], b: NDArray[Any], row: int) -> None:
        """Add strips of both maps whose first row is `row`."""

    def finish(self) -> tuple[_Cells, _Cells, _Ints, _Ints, _Ints]:
        """Return (ids, areas, boxes) of both sides, then positions on both sides and shared pixels of every pair."""
