"""Tiles of an image: the covering grid, cells cut to a tile, moved back, and painted into a label map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Instances
from celltable.errors import CelltableError
from celltable.geometry import polygon
from celltable.geometry.masks import Masks

STRIP_PIXELS: Final = 1 << 22  # painted at once: 16 MB


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A window of an image in pixels: `row`, `col` of its upper left corner, `height`, `width`."""

    row: int
    col: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height."""
        return self.col, self.row, self.width, self.height

    @property
    def name(self) -> str:
        """``r<row>_c<col>``, zero-padded: sorts in reading order."""
        return f"r{self.row:06d}_c{self.col:06d}"

    def meet(self, other: Tile) -> Tile | None:
        """Intersect two windows; None where they are disjoint."""
        top, left = max(self.row, other.row), max(self.col, other.col)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.col + self.width, other.col + other.width)
        return Tile(top, left, bottom - top, right - left) if bottom > top and right > left else None


def grid(size: tuple[int, int], tile: int | tuple[int, int], overlap: int = 0) -> list[Tile]:
    """Cover an image with tiles of one size, in reading order; the last ones are moved inwards rather than cut.

    Only an image smaller than a tile gets a smaller tile.

    >>> [t.name for t in grid((512, 700), 512, overlap=64)]
    ['r000000_c000000', 'r000000_c000188']
    """
    height, width = (tile, tile) if isinstance(tile, int) else tile
    if min(height, width) < 1 or overlap < 0 or overlap >= min(height, width):
        raise CelltableError(
            f"tiles of {height} × {width} px cannot overlap by {overlap} px; expected 0 or more, less than the tile."
        )
    rows, cols = _starts(size[0], height, overlap), _starts(size[1], width, overlap)
    return [Tile(r, c, min(height, size[0]), min(width, size[1])) for r in rows for c in cols]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    n = -(-(length - overlap) // (tile - overlap))
    return [min(k * (tile - overlap), length - tile) for k in range(n)]


def cut(cells: Instances, tile: Tile, *, min_pixels: int = 1) -> Instances:
    """Cut cells to a tile, in its coordinates, and mark those that its border cuts as ``truncated``.

    Ids are kept; a `parent` without a pixel in the tile becomes None. Published polygon, area and box are kept for
    whole cells and dropped for cut ones. Fragments of fewer than `min_pixels` pixels are left out.

    >>> cells = Instances.from_label_map(np.array([[1, 1, 0, 2]]))
    >>> part = cut(cells, Tile(0, 1, 1, 3))
    >>> part.label_map().label_map.tolist(), part.column("truncated")
    ([[1, 0, 2]], [True, False])
    """
    x, y, w, h = (cells.bbox[:, k].astype(np.int64) for k in range(4))
    inside = (x < tile.col + tile.width) & (x + w > tile.col) & (y < tile.row + tile.height) & (y + h > tile.row)
    near = cells.take(np.flatnonzero(inside & (cells.area > 0)))
    if not len(near):
        return Instances.empty(tile.size)
    masks = near.rle.crop(tile.box)
    whole = masks.areas == near.area
    columns: dict[str, Any] = {}
    columns["truncated"] = [bool(t) or not ok for t, ok in zip(near.column("truncated"), whole.tolist(), strict=True)]
    for name in ("polygon", "published_area", "published_bbox"):
        if getattr(near, name) is not None:
            values = zip(near.column(name), whole.tolist(), strict=True)
            columns[name] = [value if ok else None for value, ok in values]
    part = near.with_masks(masks).with_columns(**columns).take(masks.areas >= max(1, min_pixels))
    return _with_parents(_moved(part, -tile.col, -tile.row))


def _with_parents(cells: Instances) -> Instances:
    """Drop parents that are not among the cells."""
    if cells.parent is None:
        return cells
    known = set(cells.ids.tolist())
    return cells.with_columns(parent=[p if p in known else None for p in cells.column("parent")])


def _moved(cells: Instances, dx: int, dy: int) -> Instances:
    """Move published polygons and boxes by (dx, dy); masks stay."""
    columns: dict[str, Any] = {}
    if cells.polygon is not None:
        packed = [p for p in cells.polygon if p is not None]
        xy, part_first, mask_first = polygon.unpack_flat(packed)
        shifted = iter(polygon.pack_flat(np.asarray(xy).reshape(-1, 2) + np.array([dx, dy]), part_first, mask_first))
        columns["polygon"] = [None if p is None else next(shifted) for p in cells.polygon]
    if cells.published_bbox is not None:
        boxes = cells.column("published_bbox")
        columns["published_bbox"] = [None if b is None else [b[0] + dx, b[1] + dy, b[2], b[3]] for b in boxes]
    return cells.with_columns(**columns) if columns else cells


def place(cells: Instances, tile: Tile, size: tuple[int, int]) -> Instances:
    """Move the cells of a tile into the coordinates of its image of `size` (height, width)."""
    masks = cells.rle.paste(tile.box, size)
    shift = np.array([tile.col, tile.row, 0, 0], np.int32)
    boxes = np.where((cells.area > 0)[:, None], cells.bbox + shift, 0).astype(np.int32)
    return _moved(cells.with_masks(Masks.of(masks, size, cells.area, boxes)), tile.col, tile.row)


def paint(cells: Instances, out: NDArray[Any]) -> None:
    """Paint cells into a label map strip by strip, later over earlier, without another image-sized array.

    Parameters
    ----------
    cells
        Their ids become the labels.
    out
        Any integer array (height, width), or a memory map; every pixel is written.
    """
    height, width = cells.size
    if out.shape != cells.size:
        found = " × ".join(map(str, out.shape))
        raise CelltableError(f"the label map has {found} px, the cells {height} × {width}.")
    top_id = int(cells.ids.max(initial=0))
    if out.dtype.kind not in "iu" or top_id > np.iinfo(out.dtype).max:
        raise CelltableError(f"a label map of {out.dtype} cannot hold the label {top_id:,}; use int32.")
    rows = max(1, STRIP_PIXELS // max(1, width))
    for top in range(0, height, rows):
        strip = Tile(top, 0, min(rows, height - top), width)
        out[top : top + strip.height] = cut(cells, strip).label_map().label_map
