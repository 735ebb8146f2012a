"""Shapes of the cells of one image, measured when asked for: holes, parts, solidity, overlaps and contacts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import rle

Pairs = list[tuple[int, int, int]]


class Part(NamedTuple):
    """One connected part of a mask: its run lengths and its area in px²."""

    mask: bytes
    area: int


class Shapes:
    """Lazily measured shapes of masks of one size; every array has one entry a mask, in their order.

    Masks that are not valid for that size count as empty; `valid` says which. `kinds` (one value a mask) restricts
    overlaps and contacts to masks of one kind: a nucleus lies inside its cell.
    """

    def __init__(self, counts: Sequence[bytes], size: tuple[int, int], kinds: Sequence[Any] | None = None) -> None:
        self.size = size
        self.valid = np.asarray([_is_valid(c, size) for c in counts], dtype=bool)
        nothing = rle.encode(np.zeros(size, dtype=bool)) if not self.valid.all() else b""
        self.masks = [c if ok else nothing for c, ok in zip(counts, self.valid.tolist(), strict=True)]
        self.kinds = None if kinds is None or len(set(kinds)) < 2 else list(kinds)

    @classmethod
    def of(cls, cells: Any) -> Shapes:
        """The shapes of Instances."""
        return cls(list(cells.rle), cells.size, None if isinstance(cells.kind, str) else cells.column("kind"))

    def __len__(self) -> int:
        return len(self.masks)

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        return rle.areas(self.masks, self.size)

    @cached_property
    def boxes(self) -> NDArray[np.int32]:
        return rle.boxes(self.masks, self.size)

    def crop(self, i: int) -> NDArray[np.bool_]:
        """Mask `i` inside its box."""
        x, y, w, h = self.boxes[i].tolist()
        return rle.decode(self.masks[i], self.size)[y : y + h, x : x + w]

    @cached_property
    def _holes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        from scipy import ndimage

        count, area = np.zeros(len(self), np.int64), np.zeros(len(self), np.int64)
        for i in range(len(self)):
            crop = self.crop(i)
            holes = ndimage.binary_fill_holes(crop) & ~crop
            count[i], area[i] = ndimage.label(holes)[1], holes.sum()
        return count, area

    @property
    def hole_count(self) -> NDArray[np.int64]:
        """Holes of each mask: background parts (joined by edges) that do not reach its outside."""
        return self._holes[0]

    @property
    def hole_area(self) -> NDArray[np.int64]:
        """Pixels of all holes of each mask, px²."""
        return self._holes[1]

    @cached_property
    def parts4(self) -> NDArray[np.int64]:
        """Parts of each mask whose pixels are joined by edges."""
        return self._count_parts(4)

    @cached_property
    def parts8(self) -> NDArray[np.int64]:
        """Parts of each mask whose pixels are joined by edges or corners."""
        return self._count_parts(8)

    def _count_parts(self, connectivity: int) -> NDArray[np.int64]:
        from scipy import ndimage

        near = np.ones((3, 3)) if connectivity == 8 else None
        return np.asarray([ndimage.label(self.crop(i), near)[1] for i in range(len(self))], np.int64)

    def components(self, indices: ArrayLike, connectivity: int = 4) -> list[list[Part]]:
        """The parts of some masks."""
        from scipy import ndimage

        near = np.ones((3, 3)) if connectivity == 8 else None
        found = []
        for i in np.asarray(indices).tolist():
            labels, n = ndimage.label(rle.decode(self.masks[i], self.size), near)
            found.append([Part(rle.encode(labels == k), int((labels == k).sum())) for k in range(1, n + 1)])
        return found

    def filled(self, indices: ArrayLike) -> list[bytes]:
        """Some masks with their holes filled."""
        from scipy import ndimage

        return [
            rle.encode(ndimage.binary_fill_holes(rle.decode(self.masks[i], self.size)))
            for i in np.asarray(indices).tolist()
        ]

    def solidity(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Share of their convex hull that some masks fill (0 to 1)."""
        from skimage.morphology import convex_hull_image

        crops = [self.crop(i) for i in np.asarray(indices).tolist()]
        return np.asarray([c.sum() / max(convex_hull_image(c).sum(), 1) if c.any() else 1.0 for c in crops])

    @cached_property
    def all_overlaps(self) -> Pairs:
        """(i, j, shared pixels) of all pairs i < j that share pixels."""
        found = []
        full = [rle.decode(m, self.size) for m in self.masks]
        for i in range(len(self)):
            for j in range(i + 1, len(self)):
                px = int((full[i] & full[j]).sum())
                if px:
                    found.append((i, j, px))
        return found

    @cached_property
    def overlaps(self) -> Pairs:
        """As `all_overlaps`, of masks of one kind."""
        if self.kinds is None:
            return self.all_overlaps
        return [p for p in self.all_overlaps if self.kinds[p[0]] == self.kinds[p[1]]]

    @cached_property
    def contacts(self) -> Pairs:
        """(i, j, length) of pairs i < j of one kind with pixels side by side; length in pixel edges."""
        groups = {None: list(range(len(self)))} if self.kinds is None else _by(self.kinds)
        found: Pairs = []
        for members in groups.values():
            flat = rle.flatten(
                [self.masks[i] for i in members], self.size, ids=np.arange(1, len(members) + 1)
            ).label_map
            found.extend((members[a - 1], members[b - 1], n) for a, b, n in _sides(flat))
        return sorted(found)

    def meets_others(self, i: int, mask: bytes) -> bool:
        """Whether `mask` shares a pixel with a mask of the same kind other than `i` that mask `i` itself does not."""
        new = rle.decode(mask, self.size) & ~rle.decode(self.masks[i], self.size)
        same = range(len(self)) if self.kinds is None else [j for j, k in enumerate(self.kinds) if k == self.kinds[i]]
        return any(j != i and bool((rle.decode(self.masks[j], self.size) & new).any()) for j in same)

    def without(self, i: int, others: Sequence[int]) -> tuple[bytes, int]:
        """Mask `i` less other masks, and the area that is left."""
        left = rle.decode(self.masks[i], self.size).copy()
        for j in others:
            left &= ~rle.decode(self.masks[j], self.size)
        return rle.encode(left), int(left.sum())


def on_border(boxes: ArrayLike, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether each tight box (x, y, width, height) reaches the first or last row or column; an empty one does not."""
    x, y, w, h = np.asarray(boxes, dtype=np.int64).reshape(-1, 4).T
    return np.asarray((w > 0) & ((x <= 0) | (y <= 0) | (x + w >= size[1]) | (y + h >= size[0])))


def _is_valid(counts: bytes, size: tuple[int, int]) -> bool:
    return True


def _by(kinds: Sequence[Any]) -> dict[Any, list[int]]:
    groups: dict[Any, list[int]] = {}
    for i, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(i)
    return groups


def _sides(label_map: NDArray[np.int32]) -> list[tuple[int, int, int]]:
    """(a, b, edges) of labels a < b that lie side by side."""
    keys = []
    for first, second in ((label_map[:-1], label_map[1:]), (label_map[:, :-1], label_map[:, 1:])):
        at = (first != second) & (first > 0) & (second > 0)
        low, high = np.minimum(first[at], second[at]), np.maximum(first[at], second[at])
        keys.append(low.astype(np.int64) << 32 | high)
    pairs, counts = np.unique(np.concatenate(keys), return_counts=True)
    return [(int(k >> 32), int(k & 0xFFFFFFFF), int(n)) for k, n in zip(pairs, counts, strict=True)]
