"""Predictions of overlapping tiles as one image again, each cell once, without seams.

Everything works on run lengths: no image-sized array is made, so memory grows with the cells, not with the pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.errors import CelltableError
from celltable.geometry import rle
from celltable.geometry.overlap import Overlap, overlap_of_rles
from celltable.records import Instances

from ._tiles import Tile, concatenate, paint, place

MATCH: Final = 0.5  # where label maps have no overlaps, more than half can belong to one pair only
Ints = NDArray[np.int64]


def stitch(tiles: Iterable[tuple[Tile, Instances]], size: tuple[int, int], *, match: float = MATCH) -> Instances:
    """Put the cells predicted on overlapping tiles together again, each cell once.

    Inside the strip that two tiles both see, two of their cells of one kind (nucleus or cell) are one if their
    intersection over union is more than `match`, best pairs first, each cell in one pair. A cell left over joins the
    cell that it shares most pixels with, if these are more than `match` of the smaller, unless it lies on that cell's
    partner in its own tile, too: then they are two cells, one on the other. Of the cells that are one, a copy that no
    inner border cuts is taken (of several, that of the highest score, then of the largest area), unless it is less
    than `match` of all of them together; else their union is. A cell that only one tile has found is kept.

    Cells that are cut by a border are put together only where tiles overlap by a pixel or more; with an overlap larger
    than the largest cell, tiles that `cut` made of an image give exactly its cells back.

    Parameters
    ----------
    tiles
        Tiles in reading order (as `grid` gives them) with the cells found on each, in the tile's own coordinates.
    size
        Height and width of the whole image.
    match
        Share of pixels, at least 0 and less than 1.

    Returns
    -------
    Instances
        Cells of the whole image, numbered from 1; `parent` follows the numbers, ``truncated`` marks a cell that an
        inner border cuts and that no other tile completes.

    Raises
    ------
    CelltableError
        If tiles are not in reading order, do not lie in the image, or have cells of another size.
    """
    if not 0 <= match < 1:
        raise CelltableError(f"match is {match:g}; expected a share of pixels, at least 0 and less than 1.")
    recent: list[tuple[Tile, Instances, int]] = []  # tiles that a later one can still meet
    groups = _Groups()
    kept: list[Instances] = []
    inner: list[NDArray[np.bool_]] = []
    parents: list[NDArray[np.int64]] = []
    first, last = 0, None
    for tile, cells in tiles:
        _check(tile, cells, size, last)
        recent = [entry for entry in recent if entry[0].row + entry[0].height > tile.row]
        for other, theirs, offset in recent:
            for a, b in _matches(other, theirs, tile, cells, match):
                groups.join(offset + a, first + b)
        recent.append((tile, cells, first))
        inner.append(_cut_inside(cells, tile, size))
        parents.append(_parent_positions(cells, first))
        kept.append(place(cells, tile, size))
        first, last = first + len(cells), tile
    if not first:
        return Instances.empty(size)
    return _merged(concatenate(kept), np.concatenate(inner), np.concatenate(parents), groups, match)


def _check(tile: Tile, cells: Instances, size: tuple[int, int], last: Tile | None) -> None:
    if cells.size != tile.size:
        raise CelltableError(
            f"cells of a {cells.size[0]} × {cells.size[1]} px image on a tile of {tile.height} × {tile.width} px."
        )
    if min(tile.row, tile.col) < 0 or tile.row + tile.height > size[0] or tile.col + tile.width > size[1]:
        raise CelltableError(
            f"the tile {tile.name} of {tile.height} × {tile.width} px does not lie in an image of "
            f"{size[0]} × {size[1]} px."
        )
    if last is not None and (tile.row, tile.col) <= (last.row, last.col):
        raise CelltableError(
            f"the tile {tile.name} comes after {last.name}; expected tiles in reading order, each once."
        )


def _parent_positions(cells: Instances, first: int) -> NDArray[np.int64]:
    """Where the parent of each cell stands among all cells; -1 for none."""
    if cells.parent is None:
        return np.full(len(cells), -1, np.int64)
    where = {cell: first + k for k, cell in enumerate(cells.ids.tolist())}
    return np.array([where.get(p, -1) for p in cells.column("parent")], np.int64)


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
    kind_a, kind_b = np.array(cells_a.column("kind"))[at_a], np.array(cells_b.column("kind"))[at_b]
    pairs = _Pairs(table, kind_a[table.gt_index] == kind_b[table.pred_index], match)
    for i, j in pairs.one_to_one() + pairs.left_over(in_a, in_b, strip.size):
        yield int(at_a[i]), int(at_b[j])


class _Pairs:
    """Cells of two tiles that share pixels, and which of them are one."""

    def __init__(self, table: Overlap, alike: NDArray[np.bool_], match: float) -> None:
        self._i, self._j = table.gt_index[alike], table.pred_index[alike]
        self._shared = table.pixels[alike]
        self._areas_a, self._areas_b = table.gt_areas, table.pred_areas
        self._match = match
        self._of_a: dict[int, int] = {}
        self._of_b: dict[int, int] = {}

    def one_to_one(self) -> list[tuple[int, int]]:
        """Pairs of intersection over union above `match`, best first, each cell once."""
        iou = self._shared / (self._areas_a[self._i] + self._areas_b[self._j] - self._shared)
        order = np.lexsort((self._j, self._i, -iou))
        return [pair for pair in self._listed(order[iou[order] > self._match]) if self._join(*pair)]

    def left_over(self, in_a: list[bytes], in_b: list[bytes], size: tuple[int, int]) -> list[tuple[int, int]]:
        """Cells without a pair that lie mostly on a cell of the other tile, and not on its partner in their own."""
        smaller = np.minimum(self._areas_a[self._i], self._areas_b[self._j])
        order = np.lexsort((self._j, self._i, -self._shared))
        made = []
        for i, j in self._listed(order[(self._shared > self._match * smaller)[order]]):
            partner_of_i, partner_of_j = self._of_a.get(i), self._of_b.get(j)
            if partner_of_i is not None and partner_of_j is not None:
                continue
            on_i = partner_of_i is not None and self._on(in_b[j], in_b[partner_of_i], size)
            on_j = partner_of_j is not None and self._on(in_a[i], in_a[partner_of_j], size)
            if not on_i and not on_j:
                self._of_a.setdefault(i, j)
                self._of_b.setdefault(j, i)
                made.append((i, j))
        return made

    def _listed(self, order: NDArray[np.intp]) -> list[tuple[int, int]]:
        return list(zip(self._i[order].tolist(), self._j[order].tolist(), strict=True))

    def _join(self, i: int, j: int) -> bool:
        if i in self._of_a or j in self._of_b:
            return False
        self._of_a[i], self._of_b[j] = j, i
        return True

    def _on(self, one: bytes, other: bytes, size: tuple[int, int]) -> bool:
        both, alone = rle.areas([rle.intersection([one, other], size), one], size)
        return bool(both > self._match * alone)


def _in_strip(cells: Instances, tile: Tile, strip: Tile) -> tuple[NDArray[np.intp], list[bytes]]:
    box = (strip.col - tile.col, strip.row - tile.row, strip.width, strip.height)
    x, y, w, h = (cells.bbox[:, k] for k in range(4))
    near = np.flatnonzero((x < box[0] + box[2]) & (x + w > box[0]) & (y < box[1] + box[3]) & (y + h > box[1]))
    counts = rle.crop([cells.rle[i] for i in near.tolist()], tile.size, box)
    some = rle.areas(counts, strip.size) > 0
    return near[some], [c for c, ok in zip(counts, some.tolist(), strict=True) if ok]


def _cut_inside(cells: Instances, tile: Tile, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether a cell is marked as cut, or touches a border of its tile that is not a border of the image."""
    x, y, w, h = (cells.bbox[:, k] for k in range(4))
    cut_off = (x == 0) & (tile.col > 0) | (y == 0) & (tile.row > 0)
    cut_off |= (x + w == tile.width) & (tile.col + tile.width < size[1])
    cut_off |= (y + h == tile.height) & (tile.row + tile.height < size[0])
    return np.asarray((cut_off | np.asarray(cells.column("truncated"), bool)) & (cells.area > 0))


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


def _merged(cells: Instances, cut_off: NDArray[np.bool_], parents: Ints, groups: _Groups, match: float) -> Instances:
    """One cell a group: its best whole copy, or the union of its pieces."""
    scores = np.array([-np.inf if s is None else s for s in cells.column("score")], float)
    members_of = groups.members(len(cells))
    number = np.zeros(len(cells), np.int64)
    chosen: list[int] = []
    counts: list[bytes] = []
    pieces: list[bool] = []
    for k, members in enumerate(members_of):
        number[members] = k + 1
        best, mask, alone = _copy_of(cells, members, cut_off, scores, match)
        chosen.append(best)
        counts.append(mask)
        pieces.append(alone)
    areas, boxes = rle.measure(counts, cells.size)
    made = cells.take(np.array(chosen, dtype=np.intp))
    columns: dict[str, Any] = {"rle": counts, "area": areas, "bbox": boxes, "instance_id": None, "truncated": pieces}
    if cells.parent is not None:
        columns["parent"] = [_parent_of(members, parents, number) for members in members_of]
    for name in ("polygon", "published_area", "published_bbox"):
        if getattr(made, name) is not None:
            same = (areas == made.area).tolist()
            columns[name] = [v if ok else None for v, ok in zip(made.column(name), same, strict=True)]
    return made.with_columns(**columns)


def _copy_of(
    cells: Instances, members: list[int], cut_off: NDArray[np.bool_], scores: NDArray[np.float64], match: float
) -> tuple[int, bytes, bool]:
    """Of the copies of one cell: which one gives the columns, the mask, and whether the cell is still a fragment."""

    def rank(member: int) -> tuple[float, int, int]:
        return float(scores[member]), int(cells.area[member]), -member

    whole = [m for m in members if not cut_off[m]]
    best = max(whole or members, key=rank)
    if len(members) == 1:
        return best, cells.rle[best], bool(cut_off[best])
    union = rle.union([cells.rle[m] for m in members], cells.size)
    if whole and cells.area[best] > match * rle.areas([union], cells.size)[0]:
        return best, cells.rle[best], False
    return max(members, key=rank), union, False


def _parent_of(members: list[int], parents: Ints, number: Ints) -> int | None:
    """The number of the first parent that any copy of a cell has."""
    return next((int(number[parents[m]]) for m in members if parents[m] >= 0), None)


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
