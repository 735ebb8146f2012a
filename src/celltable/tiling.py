"""Large images as overlapping tiles, and predictions of tiles as one image again, without seams.

Everything works on run lengths: no image-sized array is made, so memory grows with the cells, not with the pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CelltableError
from .geometry import rle
from .geometry.overlap import overlap_of_rles
from .records import Instances

MATCH = 0.5  # share of the smaller of two cut cells, inside the tiles' common strip, that makes them one cell


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A window of an image, in its pixels: `row`, `col` of its upper left corner, `height`, `width`."""

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
        """The window that both share, or None."""
        top, left = max(self.row, other.row), max(self.col, other.col)
        bottom = min(self.row + self.height, other.row + other.height)
        right = min(self.col + self.width, other.col + other.width)
        return Tile(top, left, bottom - top, right - left) if bottom > top and right > left else None


def grid(size: tuple[int, int], tile: int | tuple[int, int], overlap: int = 0) -> list[Tile]:
    """Tiles of one size that cover an image, in reading order; the last ones are moved inwards rather than cut.

    Only an image smaller than a tile gets a smaller one.

    >>> [t.name for t in grid((512, 700), 512, overlap=64)]
    ['r000000_c000000', 'r000000_c000188']
    """
    height, width = (tile, tile) if isinstance(tile, int) else tile
    if min(height, width) < 1 or overlap < 0 or overlap >= min(height, width):
        raise CelltableError(
            f"tiles of {height} × {width} px cannot overlap by {overlap} px; expected 0 or more and less than a tile."
        )
    rows, cols = _starts(size[0], height, overlap), _starts(size[1], width, overlap)
    return [Tile(r, c, min(height, size[0]), min(width, size[1])) for r in rows for c in cols]


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    n = -(-(length - overlap) // (tile - overlap))
    return [min(k * (tile - overlap), length - tile) for k in range(n)]


def cut(cells: Instances, tile: Tile, *, min_pixels: int = 1) -> Instances:
    """The cells inside a tile, in its coordinates; those that its border cuts are marked ``truncated``.

    Ids are kept, published polygons and boxes of cut cells are dropped (they describe the whole cell). Fragments of less
    than `min_pixels` are left out.
    """
    x, y, w, h = (cells.bbox[:, k].astype(np.int64) for k in range(4))
    inside = (x < tile.col + tile.width) & (x + w > tile.col) & (y < tile.row + tile.height) & (y + h > tile.row)
    near = cells.take(np.flatnonzero(inside & (cells.area > 0)))
    if not len(near):
        return near.with_columns(size=tile.size)
    counts = rle.crop(list(near.rle), near.size, tile.box)
    areas, boxes = rle.areas(counts, tile.size), rle.boxes(counts, tile.size)
    whole = areas == near.area
    columns: dict[str, Any] = {"size": tile.size, "rle": counts, "area": areas, "bbox": boxes}
    columns["truncated"] = [bool(t) or not ok for t, ok in zip(near.column("truncated"), whole.tolist(), strict=True)]
    for name in ("polygon", "published_area", "published_bbox"):
        columns[name] = None
    return near.with_columns(**columns).take(np.flatnonzero(areas >= max(1, min_pixels)))


def place(cells: Instances, tile: Tile, size: tuple[int, int]) -> Instances:
    """The cells of a tile in the coordinates of the image it was cut from."""
    counts = rle.paste(list(cells.rle), tile.size, tile.box, size)
    shift = np.array([tile.col, tile.row, 0, 0], np.int32)
    boxes = np.where((cells.area > 0)[:, None], cells.bbox + shift, 0).astype(np.int32)
    return cells.with_columns(size=size, rle=counts, bbox=boxes)


def stitch(tiles: Iterable[tuple[Tile, Instances]], size: tuple[int, int], *, match: float = MATCH) -> Instances:
    """Put the cells predicted on overlapping tiles together again, each cell once.

    Two cells of neighbouring tiles are one if, inside the strip that both tiles see, they share more than `match` of the
    smaller. Of such cells, one that no inner border cuts is taken as it is (of several, that of the highest score, then of
    the largest area); if all are cut, their union is. A cell that lies in the strip, whole, but was found by one tile only
    is kept.

    Parameters
    ----------
    tiles
        Tiles in reading order with the cells found on each, in the tile's own coordinates.
    size
        Height and width of the whole image.
    match
        Share of the smaller cell in the common strip, 0 to 1.
    """
    recent: list[tuple[Tile, Instances, int]] = []  # tiles that a later one can still meet
    groups = _Groups()
    kept: list[Instances] = []
    inner: list[NDArray[np.bool_]] = []
    first = 0
    for tile, cells in tiles:
        _same_size(tile, cells)
        recent = [entry for entry in recent if entry[0].row + entry[0].height > tile.row]
        for other, theirs, offset in recent:
            for a, b in _matches(other, theirs, tile, cells, match):
                groups.join(offset + a, first + b)
        recent.append((tile, cells, first))
        inner.append(_cut_inside(cells, tile, size))
        kept.append(place(cells, tile, size))
        first += len(cells)
    if not kept:
        return Instances.empty(size)
    return _merged(concatenate(kept), np.concatenate(inner), groups, first)


def _same_size(tile: Tile, cells: Instances) -> None:
    if cells.size != tile.size:
        raise CelltableError(
            f"cells of a {cells.size[0]} × {cells.size[1]} px image on a tile of {tile.height} × {tile.width} px."
        )


def _matches(a: Tile, cells_a: Instances, b: Tile, cells_b: Instances, match: float) -> Iterator[tuple[int, int]]:
    """Positions of cells of two tiles that are the same cell."""
    strip = a.meet(b)
    if strip is None or not len(cells_a) or not len(cells_b):
        return
    at_a, in_a = _in_strip(cells_a, a, strip)
    at_b, in_b = _in_strip(cells_b, b, strip)
    if not len(at_a) or not len(at_b):
        return
    table = overlap_of_rles(in_a, in_b, strip.size)
    smaller = np.minimum(table.gt_areas[table.gt_index], table.pred_areas[table.pred_index])
    same = table.pixels > match * smaller
    yield from zip(at_a[table.gt_index[same]].tolist(), at_b[table.pred_index[same]].tolist(), strict=True)


def _in_strip(cells: Instances, tile: Tile, strip: Tile) -> tuple[NDArray[np.intp], list[bytes]]:
    box = (strip.col - tile.col, strip.row - tile.row, strip.width, strip.height)
    x, y, w, h = (cells.bbox[:, k] for k in range(4))
    near = np.flatnonzero((x < box[0] + box[2]) & (x + w > box[0]) & (y < box[1] + box[3]) & (y + h > box[1]))
    counts = rle.crop([cells.rle[i] for i in near.tolist()], tile.size, box)
    some = rle.areas(counts, strip.size) > 0
    return near[some], [c for c, ok in zip(counts, some.tolist(), strict=True) if ok]


def _cut_inside(cells: Instances, tile: Tile, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether a cell touches a border of its tile that is not a border of the image."""
    x, y, w, h = (cells.bbox[:, k] for k in range(4))
    cut_off = (x == 0) & (tile.col > 0) | (y == 0) & (tile.row > 0)
    cut_off |= (x + w == tile.width) & (tile.col + tile.width < size[1])
    cut_off |= (y + h == tile.height) & (tile.row + tile.height < size[0])
    return np.asarray(cut_off & (cells.area > 0))


class _Groups:
    """Union-find over cells that are the same."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def root(self, cell: int) -> int:
        while (up := self._parent.get(cell, cell)) != cell:
            self._parent[cell] = self._parent.get(up, up)
            cell = up
        return cell

    def join(self, a: int, b: int) -> None:
        low, high = sorted((self.root(a), self.root(b)))
        self._parent[high] = low

    def members(self, n: int) -> list[list[int]]:
        """Groups of 0..n-1 in the order of their first members."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for cell in range(n):
            found[self.root(cell)].append(cell)
        return list(found.values())


def _merged(cells: Instances, cut_off: NDArray[np.bool_], groups: _Groups, n: int) -> Instances:
    scores = np.array([s if s is not None else 0.0 for s in cells.column("score")], float)
    chosen: list[int] = []
    counts: list[bytes] = []
    for members in groups.members(n):
        whole = [m for m in members if not cut_off[m]]
        best = max(whole or members, key=lambda m: (scores[m], int(cells.area[m]), -m))
        chosen.append(best)
        counts.append(
            cells.rle[best] if whole or len(members) == 1 else rle.union([cells.rle[m] for m in members], cells.size)
        )
    made = cells.take(np.array(chosen, dtype=np.intp))
    alone = [bool(cut_off[c]) for c in chosen]
    return made.with_columns(
        rle=counts,
        area=rle.areas(counts, cells.size),
        bbox=rle.boxes(counts, cells.size),
        instance_id=None,
        truncated=alone,
    )


def concatenate(parts: Sequence[Instances]) -> Instances:
    """Cells of one image from several tables, renumbered from 1."""
    size = parts[0].size
    columns: dict[str, Any] = {}
    for name in Instances.__dataclass_fields__:
        if name in ("size", "rle", "area", "bbox", "instance_id"):
            continue
        values = [getattr(p, name) for p in parts]
        plain = all(v is None or isinstance(v, str | bool) for v in values)
        columns[name] = values[0] if plain and len(set(values)) == 1 else [v for p in parts for v in p.column(name)]
    counts = [c for p in parts for c in p.rle]
    areas = np.concatenate([np.asarray(p.area, np.int64) for p in parts])
    boxes = np.concatenate([np.asarray(p.bbox, np.int32).reshape(-1, 4) for p in parts])
    return Instances(size, counts, areas, boxes, **columns)


def stitch_label_maps(
    tiles: Iterable[tuple[Tile, NDArray[Any]]],
    size: tuple[int, int],
    out: NDArray[Any] | None = None,
    *,
    match: float = MATCH,
) -> NDArray[Any]:
    """Put label maps of overlapping tiles together; `out` may be a memory map, so that images of any size fit.

    Returns `out`, or a new int32 array (height, width), labels 1..n in the order of `stitch`.
    """
    cells = stitch(((t, Instances.from_label_map(m)) for t, m in tiles), size, match=match)
    target = np.zeros(size, np.int32) if out is None else out
    paint(cells, target)
    return target


STRIP_ROWS = 2048


def paint(cells: Instances, out: NDArray[Any]) -> None:
    """Paint cells into a label map strip by strip, later over earlier, without another image-sized array."""
    height, width = cells.size
    if out.shape != cells.size:
        raise CelltableError(f"the label map has {out.shape[0]} × {out.shape[1]} px, the cells {height} × {width}.")
    for top in range(0, height, STRIP_ROWS):
        strip = Tile(top, 0, min(STRIP_ROWS, height - top), width)
        part = cut(cells, strip)
        out[top : top + strip.height] = part.label_map().label_map
