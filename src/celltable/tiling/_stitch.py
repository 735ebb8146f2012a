"""Stitch predictions on overlapping tiles into one image, each cell once, without seams.

Everything works on run lengths without image-sized arrays, so memory grows with cells, not with pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Instances
from celltable.errors import CelltableError
from celltable.geometry.masks import Masks
from celltable.geometry.overlap import Overlap, overlap_of_masks

from ._tiles import Tile, paint, place

MATCH: Final = 0.5  # where label maps have no overlaps, more than half can belong to one pair only
Ints = NDArray[np.int64]


def stitch(tiles: Iterable[tuple[Tile, Instances]], size: tuple[int, int], *, match: float = MATCH) -> Instances:
    """Merge the cells predicted on overlapping tiles, each cell once.

    Inside the strip that two tiles share, two of their cells of one kind (nucleus or cell) are the same if their
    intersection over union exceeds `match`, best pairs first, each cell in one pair. A remaining cell joins the cell
    with which it shares most pixels if these exceed `match` of the smaller one, unless it also overlaps that cell's
    partner in its own tile: then they are two cells, one on top of the other. Of the copies of a cell, one that no
    inner border cuts is used: the one farthest from such borders (then of the highest score, then of the largest area).
    Where tiles disagree between one cell and two, the best copy decides, and others that share more than `match` of the
    smaller with it are dropped. Pieces that no whole copy covers are united and replace a whole copy inside them. A
    cell found by only one tile is kept.

    Cells cut by a border are joined only where tiles overlap by at least a pixel. With an overlap larger than the
    largest cell, stitching the tiles that `cut` made returns exactly the original cells.

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
        If tiles are not in reading order, exceed the image, or hold cells of another size.
    """
    if not 0 <= match < 1:
        raise CelltableError(f"match is {match:g}; expected a share of pixels, at least 0 and less than 1.")
    recent: list[tuple[Tile, Instances, int]] = []  # tiles that a later one can still meet
    groups = _Groups()
    kept: list[Instances] = []
    copies: list[_Copies] = []
    first, last = 0, None
    for tile, cells in tiles:
        _check(tile, cells, size, last)
        recent = [entry for entry in recent if entry[0].row + entry[0].height > tile.row]
        for other, theirs, offset in recent:
            for a, b in _matches(other, theirs, tile, cells, match):
                groups.join(offset + a, first + b)
        recent.append((tile, cells, first))
        copies.append(_copies(cells, tile, size, len(kept), first))
        kept.append(place(cells, tile, size))
        first, last = first + len(cells), tile
    if not first:
        return Instances.empty(size)
    everything = _Copies(*(np.concatenate([getattr(c, f.name) for c in copies]) for f in fields(_Copies)))
    return _merged(Instances.concat(kept), everything, groups, match)


def _check(tile: Tile, cells: Instances, size: tuple[int, int], last: Tile | None) -> None:
    if cells.size != tile.size:
        raise CelltableError(
            f"cells of a {cells.size[0]} × {cells.size[1]} px image on a tile of {tile.height} × {tile.width} px."
        )
    if min(tile.row, tile.col) < 0 or tile.row + tile.height > size[0] or tile.col + tile.width > size[1]:
        raise CelltableError(
            f"the tile {tile.name} of {tile.height} × {tile.width} px is not inside an image of "
            f"{size[0]} × {size[1]} px."
        )
    if last is not None and (tile.row, tile.col) <= (last.row, last.col):
        raise CelltableError(
            f"the tile {tile.name} comes after {last.name}; expected tiles in reading order, each once."
        )


@dataclass(frozen=True, slots=True)
class _Copies:
    """What decides between copies: cut by an inner border, px to the nearest one, tile number, row of the parent."""

    cut_off: NDArray[np.bool_]
    margin: Ints
    tile: Ints
    parent: Ints


def _copies(cells: Instances, tile: Tile, size: tuple[int, int], number: int, first: int) -> _Copies:
    x, y, w, h = (cells.bbox[:, k].astype(np.int64) for k in range(4))
    far = np.full(len(cells), max(size), np.int64)
    sides = [x if tile.col > 0 else far, y if tile.row > 0 else far]
    sides.append(tile.width - x - w if tile.col + tile.width < size[1] else far)
    sides.append(tile.height - y - h if tile.row + tile.height < size[0] else far)
    margin = np.min(sides, axis=0)
    cut_off = ((margin == 0) | np.asarray(cells.column("truncated"), bool)) & (cells.area > 0)
    where = {cell: first + k for k, cell in enumerate(cells.ids.tolist())} if cells.parent is not None else {}
    parent = np.array([where.get(p, -1) for p in cells.column("parent")], np.int64)
    return _Copies(cut_off, margin, np.full(len(cells), number, np.int64), parent)


def _matches(a: Tile, cells_a: Instances, b: Tile, cells_b: Instances, match: float) -> Iterator[tuple[int, int]]:
    """Yield positions of cells of two tiles that are the same cell."""
    strip = a.meet(b)
    if strip is None or not len(cells_a) or not len(cells_b):
        return
    at_a, in_a = _in_strip(cells_a, a, strip)
    at_b, in_b = _in_strip(cells_b, b, strip)
    if not len(at_a) or not len(at_b):
        return
    table = overlap_of_masks(in_a, in_b)
    kind_a, kind_b = np.array(cells_a.column("kind"))[at_a], np.array(cells_b.column("kind"))[at_b]
    pairs = _Pairs(table, kind_a[table.gt_index] == kind_b[table.pred_index], match)
    for i, j in pairs.one_to_one() + pairs.left_over(in_a, in_b):
        yield int(at_a[i]), int(at_b[j])


class _Pairs:
    """Cells of two tiles that share pixels, and which of them are the same cell."""

    def __init__(self, table: Overlap, same_kind: NDArray[np.bool_], match: float) -> None:
        self._i, self._j = table.gt_index[same_kind], table.pred_index[same_kind]
        self._shared = table.intersection[same_kind]
        self._areas_a, self._areas_b = table.gt_areas, table.pred_areas
        self._match = match
        self._of_a: dict[int, int] = {}
        self._of_b: dict[int, int] = {}

    def one_to_one(self) -> list[tuple[int, int]]:
        """Pair cells whose intersection over union exceeds `match`, best first, each cell once."""
        iou = self._shared / (self._areas_a[self._i] + self._areas_b[self._j] - self._shared)
        order = np.lexsort((self._j, self._i, -iou))
        return [pair for pair in self._listed(order[iou[order] > self._match]) if self._join(*pair)]

    def left_over(self, in_a: Masks, in_b: Masks) -> list[tuple[int, int]]:
        """Pair remaining cells mostly covered by a cell of the other tile and not by its partner in their own."""
        smaller = np.minimum(self._areas_a[self._i], self._areas_b[self._j])
        order = np.lexsort((self._j, self._i, -self._shared))
        made = []
        for i, j in self._listed(order[(self._shared > self._match * smaller)[order]]):
            partner_of_i, partner_of_j = self._of_a.get(i), self._of_b.get(j)
            if partner_of_i is not None and partner_of_j is not None:
                continue
            on_i = partner_of_i is not None and self._on(in_b, j, partner_of_i)
            on_j = partner_of_j is not None and self._on(in_a, i, partner_of_j)
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

    def _on(self, masks: Masks, one: int, other: int) -> bool:
        both = Masks.of([masks.take([one, other]).intersection()], masks.size).areas[0]
        return bool(both > self._match * masks.areas[one])


def _in_strip(cells: Instances, tile: Tile, strip: Tile) -> tuple[NDArray[np.intp], Masks]:
    box = (strip.col - tile.col, strip.row - tile.row, strip.width, strip.height)
    x, y, w, h = (cells.bbox[:, k] for k in range(4))
    near = np.flatnonzero((x < box[0] + box[2]) & (x + w > box[0]) & (y < box[1] + box[3]) & (y + h > box[1]))
    masks = cells.rle.take(near).crop(box)
    some = masks.areas > 0
    return near[some], masks.take(some)


class _Groups:
    """Union-find over cells that are the same."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self.pairs: list[tuple[int, int]] = []

    def root(self, cell: int) -> int:
        while (up := self._parent.get(cell, cell)) != cell:
            self._parent[cell] = self._parent.get(up, up)
            cell = up
        return cell

    def join(self, a: int, b: int) -> None:
        self.pairs.append((a, b))
        low, high = sorted((self.root(a), self.root(b)))
        self._parent[high] = low

    def members(self, among: Iterable[int]) -> list[list[int]]:
        """Group these cells, in the order of first members."""
        found: defaultdict[int, list[int]] = defaultdict(list)
        for cell in among:
            found[self.root(cell)].append(cell)
        return list(found.values())


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of the whole image: the copy that gives its columns, all copies, its mask, whether a part is missing."""

    best: int
    copies: list[int]
    mask: bytes
    fragment: bool


def _merged(cells: Instances, copies: _Copies, groups: _Groups, match: float) -> Instances:
    """Build the cells of the whole image, each from its best whole copy or the union of its pieces."""
    score = np.array([-np.inf if s is None else s for s in cells.column("score")], float)
    order = np.lexsort((np.arange(len(cells)), -cells.area, -score, -copies.margin))
    rank = np.empty(len(cells), np.int64)
    rank[order] = np.arange(len(cells))
    joined: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for pair in groups.pairs:
        joined[groups.root(pair[0])].append(pair)
    found: list[_Cell] = []
    for members in groups.members(range(len(cells))):
        if len(members) == 1:
            k = members[0]
            found.append(_Cell(k, members, cells.rle[k], bool(copies.cut_off[k])))
        else:
            found.extend(_Group(cells, copies, rank, match, members).cells(joined[members[0]]))
    return _as_instances(cells, copies.parent, found)


class _Group:
    """Copies of one cell (or of a few where tiles disagree) with the pixels that each pair shares."""

    def __init__(self, cells: Instances, copies: _Copies, rank: Ints, match: float, members: list[int]) -> None:
        self._masks = cells.rle.take(members)
        self._members, self._size, self._match = members, cells.size, match
        self._tile, self._cut = copies.tile[members].tolist(), copies.cut_off[members].tolist()
        self._order = np.argsort(rank[members]).tolist()
        table = overlap_of_masks(self._masks, self._masks)
        self._area = table.gt_areas.tolist()
        self._shared = np.zeros((len(members), len(members)), np.int64)
        self._shared[table.gt_index, table.pred_index] = table.intersection

    def cells(self, pairs: list[tuple[int, int]]) -> list[_Cell]:
        """Decide which cells these copies show."""
        whole = self._accepted()
        rest = [k for k in range(len(self._members)) if self._cut[k] and not self._covered(k, whole)]
        united = self._united(rest, pairs)
        for _, mask in united:
            whole = [k for k in whole if not self._inside(k, mask)]
        drafts = [([k], self._masks[k]) for k in whole] + united
        copies: list[list[int]] = [[] for _ in drafts]
        for k in range(len(self._members)):
            shared = [int(self._shared[k, own].max()) for own, _ in drafts]
            copies[shared.index(max(shared))].append(self._members[k])
        made = [
            _Cell(
                self._members[min(own, key=self._order.index)], members, mask, len(own) == 1 and bool(self._cut[own[0]])
            )
            for (own, mask), members in zip(drafts, copies, strict=True)
        ]
        return sorted(made, key=lambda cell: min(cell.copies, default=cell.best))

    def _accepted(self) -> list[int]:
        """Whole copies, best first, without those superseded by a copy of another tile."""
        accepted: list[int] = []
        for k in self._order:
            if not self._cut[k] and not any(self._rivals(k, a) for a in accepted):
                accepted.append(k)
        return accepted

    def _rivals(self, k: int, other: int) -> bool:
        smaller = min(self._area[k], self._area[other])
        return bool(self._tile[k] != self._tile[other] and self._shared[k, other] > self._match * smaller)

    def _covered(self, k: int, whole: list[int]) -> bool:
        return bool(self._shared[k, whole].sum() > self._match * self._area[k])

    def _united(self, rest: list[int], pairs: list[tuple[int, int]]) -> list[tuple[list[int], bytes]]:
        """Group pieces of the same cell and unite each group."""
        at = {self._members[k]: k for k in rest}
        groups = _Groups()
        for a, b in pairs:
            if a in at and b in at:
                groups.join(at[a], at[b])
        return [(own, self._masks.take(own).union()) for own in groups.members(rest)]

    def _inside(self, k: int, mask: bytes) -> bool:
        shared = Masks.of([self._masks[k], mask], self._size).intersection()
        both = Masks.of([shared], self._size).areas[0]
        return bool(both > self._match * self._area[k])


def _as_instances(cells: Instances, parents: Ints, found: list[_Cell]) -> Instances:
    """Give the columns of the best copies the final masks, renumbered from 1."""
    masks = Masks.of([cell.mask for cell in found], cells.size)
    made = cells.take(np.array([cell.best for cell in found], dtype=np.intp))
    columns: dict[str, Any] = {"instance_id": None}
    columns["truncated"] = [cell.fragment for cell in found]
    if cells.parent is not None:
        number = {copy: k + 1 for k, cell in enumerate(found) for copy in cell.copies}
        columns["parent"] = [_parent(cell, parents, number) for cell in found]
    for name in ("polygon", "published_area", "published_bbox"):
        if getattr(made, name) is not None:
            same = (masks.areas == made.area).tolist()
            columns[name] = [v if ok else None for v, ok in zip(made.column(name), same, strict=True)]
    return made.with_masks(masks).with_columns(**columns)


def _parent(cell: _Cell, parents: Ints, number: dict[int, int]) -> int | None:
    """Find the new number of the parent of the best copy, or of the first copy that has one."""
    copies = [cell.best, *cell.copies]
    return next((number[int(parents[k])] for k in copies if int(parents[k]) in number), None)


def stitch_label_maps(
    tiles: Iterable[tuple[Tile, NDArray[Any]]],
    size: tuple[int, int],
    out: NDArray[Any] | None = None,
    *,
    match: float = MATCH,
) -> NDArray[Any]:
    """Stitch label maps of overlapping tiles; `out` may be a memory map, so that images of any size fit.

    Returns `out`, or a new int32 array (height, width), labels 1..n in the order of `stitch`.
    """
    cells = stitch(((t, Instances.from_label_map(m)) for t, m in tiles), size, match=match)
    target = np.zeros(size, np.int32) if out is None else out
    paint(cells, target)
    return target
