"""Shapes of the cells of one image, measured once and when asked for: holes, parts, solidity, overlaps and contacts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.errors import MaskError

from . import rle
from .overlap import overlap_of_rles

Pairs = list[tuple[int, int, int]]
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Part(NamedTuple):
    """One connected part of a mask: its run lengths and its area in px²."""

    mask: bytes
    area: int


class Shapes:
    """Lazily measured shapes of masks of one size; every array has one entry a mask, in their order.

    Parameters
    ----------
    counts
        Compressed COCO run lengths, one a mask. Masks that are not valid for `size` count as empty; `valid` says which.
    size
        (height, width).
    kinds
        One value a mask: overlaps and contacts are those of one kind only, for a nucleus lies inside its cell.

    >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    >>> Shapes([rle.encode(ring)], (3, 3)).hole_area.tolist()
    [1]
    """

    def __init__(self, counts: Sequence[bytes], size: tuple[int, int], kinds: Sequence[Any] | None = None) -> None:
        self.size = (int(size[0]), int(size[1]))
        self.valid = _valid(counts, self.size)
        self.masks = list(counts)
        for i in np.flatnonzero(~self.valid).tolist():
            self.masks[i] = rle.union([], self.size)
        self.kinds = None if kinds is None or len(set(kinds)) < 2 else list(kinds)

    @classmethod
    def of(cls, cells: Any) -> Shapes:
        """The shapes of Instances."""
        return cls(list(cells.rle), cells.size, None if isinstance(cells.kind, str) else cells.column("kind"))

    def __len__(self) -> int:
        return len(self.masks)

    @cached_property
    def _measures(self) -> tuple[Ints, NDArray[np.int32]]:
        return rle.measure(self.masks, self.size)

    @property
    def areas(self) -> Ints:
        """Pixels of each mask, px²."""
        return self._measures[0]

    @property
    def boxes(self) -> NDArray[np.int32]:
        """Tight box of each mask: x, y, width, height; (n, 4)."""
        return self._measures[1]

    def crop(self, i: int) -> Mask:
        """Mask `i` inside its box, decoded."""
        box = self.boxes[i].tolist()
        return rle.decode(rle.crop([self.masks[i]], self.size, box)[0], (box[3], box[2]))

    def placed(self, part: Mask, i: int) -> bytes:
        """Run lengths of a mask that is drawn inside the box of mask `i`."""
        shape = (int(part.shape[0]), int(part.shape[1]))
        return rle.paste([rle.encode(part)], shape, self.boxes[i].tolist(), self.size)[0]

    @cached_property
    def _holes(self) -> rle.Holes:
        return rle.holes(self.masks, self.size)

    @property
    def hole_count(self) -> Ints:
        """Holes of each mask: background parts (joined by edges) that do not reach its outside."""
        return self._holes.number

    @property
    def hole_area(self) -> Ints:
        """Pixels of all holes of each mask, px²."""
        return self._holes.pixels

    @cached_property
    def _parts(self) -> tuple[Ints, Ints]:
        return rle.count_components(self.masks, self.size)

    @property
    def parts4(self) -> Ints:
        """Parts of each mask whose pixels are joined by edges."""
        return self._parts[0]

    @property
    def parts8(self) -> Ints:
        """Parts of each mask whose pixels are joined by edges or corners."""
        return self._parts[1]

    def components(self, indices: ArrayLike, connectivity: int = 4) -> list[list[Part]]:
        """The parts of some masks, under 4- or 8-connectivity."""
        found = []
        for parts in rle.components(self._some(indices), self.size, connectivity):
            areas = rle.areas(parts, self.size).tolist()
            found.append([Part(mask, area) for mask, area in zip(parts, areas, strict=True)])
        return found

    def filled(self, indices: ArrayLike) -> list[bytes]:
        """Some masks with their holes filled."""
        return rle.fill_holes(self._some(indices), self.size)

    def solidity(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Share of the convex hull of their pixels that some masks fill (0 to 1); 1 for an empty mask."""
        some = self._some(indices)
        hulls = rle.hull_areas(some, self.size)
        return np.where(hulls > 0, rle.areas(some, self.size) / np.maximum(hulls, 1), 1.0)

    def _some(self, indices: ArrayLike) -> list[bytes]:
        return [self.masks[i] for i in np.asarray(indices, dtype=np.intp).tolist()]

    @cached_property
    def all_overlaps(self) -> Pairs:
        """(i, j, shared pixels) of all pairs i < j that share pixels."""
        return [p for p in _shared(self.masks, self.masks, self.size) if p[0] < p[1]]

    @cached_property
    def overlaps(self) -> Pairs:
        """As `all_overlaps`, of masks of one kind."""
        return [p for p in self.all_overlaps if self._alike(p[0], p[1])]

    @cached_property
    def contacts(self) -> Pairs:
        """(i, j, length) of pairs i < j of one kind that lie side by side and share no pixel; length in pixel edges."""
        (height, width), wide = self.size, (self.size[0] + 1, self.size[1] + 1)
        here, down, right = (
            rle.paste(self.masks, self.size, (x, y, width, height), wide) for x, y in ((0, 0), (0, 1), (1, 0))
        )
        edges: dict[tuple[int, int], int] = {}
        for i, j, n in _shared(here, down, wide) + _shared(here, right, wide):
            if i != j and self._alike(i, j):
                pair = (min(i, j), max(i, j))
                edges[pair] = edges.get(pair, 0) + n
        overlapping = {(i, j) for i, j, _ in self.all_overlaps}
        return sorted((*pair, n) for pair, n in edges.items() if pair not in overlapping)

    def _alike(self, i: int, j: int) -> bool:
        return self.kinds is None or self.kinds[i] == self.kinds[j]

    def taken(self, i: int, mask: bytes) -> list[tuple[int, int]]:
        """(j, pixels) of the other masks of its kind whose pixels `mask`, a mask `i` that has grown, takes."""
        grown = rle.difference(mask, self.masks[i], self.size)
        return [(j, n) for _, j, n in _shared([grown], self.masks, self.size) if j != i and self._alike(i, j)]

    def without(self, i: int, others: Iterable[int]) -> tuple[bytes, int]:
        """Mask `i` less other masks, and the area that is left."""
        left = rle.difference(self.masks[i], rle.union([self.masks[j] for j in others], self.size), self.size)
        return left, int(rle.areas([left], self.size)[0])


def on_border(boxes: ArrayLike, size: tuple[int, int]) -> Mask:
    """Whether each tight box (x, y, width, height) reaches the first or last row or column; an empty one does not."""
    x, y, w, h = np.asarray(boxes, dtype=np.int64).reshape(-1, 4).T
    return np.asarray((w > 0) & ((x <= 0) | (y <= 0) | (x + w >= size[1]) | (y + h >= size[0])))


def _shared(a: Sequence[bytes], b: Sequence[bytes], size: tuple[int, int]) -> Pairs:
    """(i, j, pixels) of masks of two lists that share pixels, in order."""
    table = overlap_of_rles(a, b, size)
    columns = (table.gt_index.tolist(), table.pred_index.tolist(), table.intersection.tolist())
    return list(zip(*columns, strict=True))


def _valid(counts: Sequence[bytes], size: tuple[int, int]) -> Mask:
    """Whether each text is run lengths that fit the size; all at once, one by one only where there is trouble."""
    try:
        rle.areas(list(counts), size)
    except MaskError:
        if len(counts) == 1:
            return np.zeros(1, dtype=bool)
        half = len(counts) // 2
        return np.concatenate([_valid(counts[:half], size), _valid(counts[half:], size)])
    return np.ones(len(counts), dtype=bool)
