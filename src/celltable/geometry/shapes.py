"""Shapes of the cells of one image, measured once and on demand: holes, parts, solidity, overlaps and contacts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import rle
from .masks import Holes, Masks
from .overlap import overlap_of_masks

Pairs = list[tuple[int, int, int]]
Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Part(NamedTuple):
    """One connected part of a mask: its run lengths and its area in px²."""

    mask: bytes
    area: int


class Shapes:
    """Lazily measured shapes of masks of one size; every array has one entry per mask, in their order.

    Parameters
    ----------
    masks
        The masks of one image. Those whose run lengths are not valid count as empty; `valid` says which.
    kinds
        One value per mask: overlaps and contacts are only counted within a kind, because a nucleus is inside its cell.

    >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    >>> Shapes(Masks.from_arrays([ring], (3, 3))).hole_area.tolist()
    [1]
    """

    def __init__(self, masks: Masks, kinds: Sequence[Any] | None = None) -> None:
        self.size = masks.size
        faults = masks.faults()
        self.valid = np.ones(len(masks), bool)
        self.valid[list(faults)] = False
        self.masks = (
            masks if not faults else Masks.of([b"" if k in faults else m for k, m in enumerate(masks)], self.size)
        )
        self.kinds = None if kinds is None or len(set(kinds)) < 2 else list(kinds)

    @classmethod
    def of(cls, cells: Any) -> Shapes:
        """Measure the shapes of Instances."""
        return cls(cells.rle, None if isinstance(cells.kind, str) else cells.column("kind"))

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def areas(self) -> Ints:
        """Pixels of each mask, px²."""
        return self.masks.areas

    @property
    def boxes(self) -> NDArray[np.int32]:
        """Tight box of each mask: x, y, width, height; (n, 4)."""
        return self.masks.boxes

    def crop(self, i: int) -> Mask:
        """Decode mask `i` inside its box."""
        box = self.boxes[i].tolist()
        return self.masks[i : i + 1].crop(box).decode(0)

    def placed(self, part: Mask, i: int) -> bytes:
        """Return the run lengths of a mask drawn inside the box of mask `i`."""
        shape = (int(part.shape[0]), int(part.shape[1]))
        return Masks.from_arrays([part], shape).paste(self.boxes[i].tolist(), self.size)[0]

    @cached_property
    def _holes(self) -> Holes:
        return self.masks.holes()

    @property
    def hole_count(self) -> Ints:
        """Number of holes of each mask: 4-connected background components that do not reach the outside."""
        return self._holes.number

    @property
    def hole_area(self) -> Ints:
        """Total area of the holes of each mask, px²."""
        return self._holes.pixels

    @cached_property
    def _parts(self) -> tuple[Ints, Ints]:
        return self.masks.count_components()

    @property
    def parts4(self) -> Ints:
        """Number of 4-connected parts of each mask."""
        return self._parts[0]

    @property
    def parts8(self) -> Ints:
        """Number of 8-connected parts of each mask."""
        return self._parts[1]

    def components(self, indices: ArrayLike, connectivity: int = 4) -> list[list[Part]]:
        """Return the 4- or 8-connected parts of some masks."""
        components = self._some(indices).components(connectivity)
        return [[Part(*part) for part in zip(parts, parts.areas.tolist(), strict=True)] for parts in components]

    def filled(self, indices: ArrayLike) -> Masks:
        """Return some masks with their holes filled."""
        return self._some(indices).fill_holes()

    def solidity(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Compute the solidity of some masks, the share of their convex hull that they fill (0 to 1; 1 if empty)."""
        some = self._some(indices)
        hulls = some.hull_areas()
        return np.where(hulls > 0, some.areas / np.maximum(hulls, 1), 1.0)

    def _some(self, indices: ArrayLike) -> Masks:
        return self.masks.take(np.asarray(indices, dtype=np.intp))

    @cached_property
    def all_overlaps(self) -> Pairs:
        """(i, j, shared pixels) of all pairs i < j that share pixels."""
        return [p for p in _shared(self.masks, self.masks) if p[0] < p[1]]

    @cached_property
    def overlaps(self) -> Pairs:
        """Like `all_overlaps`, but only between masks of the same kind."""
        return [p for p in self.all_overlaps if self._alike(p[0], p[1])]

    @cached_property
    def contacts(self) -> Pairs:
        """(i, j, length) of pairs i < j of one kind that touch but do not overlap; length in pixel edges."""
        (height, width), wide = self.size, (self.size[0] + 1, self.size[1] + 1)
        here, down, right = (self.masks.paste((x, y, width, height), wide) for x, y in ((0, 0), (0, 1), (1, 0)))
        edges: dict[tuple[int, int], int] = {}
        for i, j, n in _shared(here, down) + _shared(here, right):
            if i != j and self._alike(i, j):
                pair = (min(i, j), max(i, j))
                edges[pair] = edges.get(pair, 0) + n
        overlapping = {(i, j) for i, j, _ in self.all_overlaps}
        return sorted((*pair, n) for pair, n in edges.items() if pair not in overlapping)

    def _alike(self, i: int, j: int) -> bool:
        return self.kinds is None or self.kinds[i] == self.kinds[j]

    def taken(self, i: int, mask: bytes) -> list[tuple[int, int]]:
        """Return (j, pixels) of other masks of the same kind that `mask`, a grown mask `i`, overlaps."""
        grown = rle.difference(mask, self.masks[i], self.size)
        return [(j, n) for _, j, n in _shared(Masks.of([grown], self.size), self.masks) if j != i and self._alike(i, j)]

    def without(self, i: int, others: Iterable[int]) -> tuple[bytes, int]:
        """Subtract other masks from mask `i`; return the rest and its area."""
        left = rle.difference(self.masks[i], self._some(list(others)).union(), self.size)
        return left, int(Masks.of([left], self.size).areas[0])


def on_border(boxes: ArrayLike, size: tuple[int, int]) -> Mask:
    """Flag tight boxes (x, y, width, height) that reach the first or last row or column; empty ones do not."""
    x, y, w, h = np.asarray(boxes, dtype=np.int64).reshape(-1, 4).T
    return np.asarray((w > 0) & ((x <= 0) | (y <= 0) | (x + w >= size[1]) | (y + h >= size[0])))


def _shared(a: Masks, b: Masks) -> Pairs:
    """Return (i, j, pixels) of masks of two sides that share pixels, in order."""
    table = overlap_of_masks(a, b)
    columns = (table.gt_index.tolist(), table.pred_index.tolist(), table.intersection.tolist())
    return list(zip(*columns, strict=True))
