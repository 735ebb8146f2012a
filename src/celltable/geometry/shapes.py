"""Shapes of the cells of one image, measured when asked for: holes, parts, solidity, overlaps and contacts.

All cells are painted into one label map, and parts and holes are counted for all of them at once; only cells that another
one covers are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.errors import MaskError

from . import rle

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
            self.masks[i] = rle.encode(np.zeros(self.size, dtype=bool))
        self.kinds = None if kinds is None or len(set(kinds)) < 2 else list(kinds)

    @classmethod
    def of(cls, cells: Any) -> Shapes:
        """The shapes of Instances."""
        return cls(list(cells.rle), cells.size, None if isinstance(cells.kind, str) else cells.column("kind"))

    def __len__(self) -> int:
        return len(self.masks)

    @cached_property
    def areas(self) -> Ints:
        """Pixels of each mask, px²."""
        return np.asarray(rle.areas(self.masks, self.size), dtype=np.int64)

    @cached_property
    def boxes(self) -> Ints:
        """Tight box of each mask: x, y, width, height; (n, 4)."""
        return np.asarray(rle.boxes(self.masks, self.size), dtype=np.int64).reshape(-1, 4)

    @cached_property
    def _painted(self) -> NDArray[np.int32]:
        """Label map of position + 1, later masks over earlier ones."""
        ids = np.arange(1, len(self) + 1, dtype=np.int32)
        return np.asarray(rle.flatten(self.masks, self.size, ids=ids, policy="last-wins").label_map, dtype=np.int32)

    @cached_property
    def _whole(self) -> Mask:
        """Whether each mask lies in the label map undamaged."""
        return np.asarray(np.bincount(self._painted.ravel(), minlength=len(self) + 1)[1:] == self.areas)

    def crop(self, i: int) -> Mask:
        """Mask `i` inside its box."""
        return self._crops[i] if i in self._crops else self._cut(i)

    @cached_property
    def _crops(self) -> dict[int, Mask]:
        """Masks that are not whole in the label map, decoded once."""
        return {i: self._box(rle.decode(self.masks[i], self.size), i) for i in np.flatnonzero(~self._whole).tolist()}

    def _cut(self, i: int) -> Mask:
        return np.asarray(self._box(self._painted, i) == i + 1)

    def _box(self, frame: NDArray[Any], i: int) -> NDArray[Any]:
        x, y, w, h = self.boxes[i].tolist()
        return np.asarray(frame[y : y + h, x : x + w])

    @cached_property
    def parts4(self) -> Ints:
        """Parts of each mask whose pixels are joined by edges."""
        return self._parts(4)

    @cached_property
    def parts8(self) -> Ints:
        """Parts of each mask whose pixels are joined by edges or corners."""
        return self._parts(8)

    def _parts(self, connectivity: int) -> Ints:
        from skimage import measure

        labels = measure.label(self._painted, background=0, connectivity=1 if connectivity == 4 else 2)  # type: ignore[no-untyped-call,unused-ignore]
        owners = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int64)
        owners[labels.ravel()] = self._painted.ravel()
        counts = np.bincount(owners[1:], minlength=len(self) + 1)[1:]
        for i, crop in self._crops.items():
            counts[i] = _label(crop, connectivity)[1]
        return np.asarray(counts, dtype=np.int64)

    @cached_property
    def hole_count(self) -> Ints:
        """Holes of each mask: background parts (joined by edges) that do not reach its outside."""
        counts = self.parts8 - _euler8(self._painted, len(self))
        for i, crop in self._crops.items():
            counts[i] = _label(_holes(crop), 4)[1]
        return np.asarray(counts, dtype=np.int64)

    @cached_property
    def hole_area(self) -> Ints:
        """Pixels of all holes of each mask, px²."""
        areas = np.zeros(len(self), np.int64)
        for i in np.flatnonzero(self.hole_count).tolist():
            areas[i] = int(_holes(self.crop(i)).sum())
        return areas

    def components(self, indices: ArrayLike, connectivity: int = 4) -> list[list[Part]]:
        """The parts of some masks, under 4- or 8-connectivity."""
        found = []
        for i in np.asarray(indices, dtype=np.intp).tolist():
            labels, n = _label(self.crop(i), connectivity)
            parts = [labels == k for k in range(1, n + 1)]
            found.append([Part(self.placed(part, i), int(part.sum())) for part in parts])
        return found

    def filled(self, indices: ArrayLike) -> list[bytes]:
        """Some masks with their holes filled."""
        crops = ((i, self.crop(i)) for i in np.asarray(indices, dtype=np.intp).tolist())
        return [self.placed(crop | _holes(crop), i) for i, crop in crops]

    def placed(self, part: Mask, i: int) -> bytes:
        """Run lengths of a mask that is drawn inside the box of mask `i`."""
        frame = np.zeros(self.size, dtype=bool)
        self._box(frame, i)[...] = part
        counts: bytes = rle.encode(frame)
        return counts

    def solidity(self, indices: ArrayLike) -> NDArray[np.float64]:
        """Share of the convex hull of their pixels that some masks fill (0 to 1); 1 for an empty mask."""
        return np.asarray([_solidity(self.crop(i)) for i in np.asarray(indices, dtype=np.intp).tolist()], np.float64)

    @cached_property
    def all_overlaps(self) -> Pairs:
        """(i, j, shared pixels) of all pairs i < j that share pixels."""
        found: Pairs = []
        right_bottom = self.boxes[:, :2] + self.boxes[:, 2:]
        for i in np.flatnonzero(~self._whole).tolist():  # a mask is damaged by every later one that overlaps it
            later = slice(i + 1, None)
            meets = (self.boxes[later, :2] < right_bottom[i]) & (right_bottom[later] > self.boxes[i, :2])
            for j in (np.flatnonzero(meets.all(axis=1)) + i + 1).tolist():
                px = self._shared(i, j)
                if px:
                    found.append((i, j, px))
        return found

    def _shared(self, i: int, j: int) -> int:
        first, second = self._common(i, j), self._common(j, i)
        return int(np.count_nonzero(first & second))

    def _common(self, i: int, j: int) -> Mask:
        """Mask `i` inside the intersection of its box with that of `j`."""
        (x, y, w, h), (u, v, r, b) = self.boxes[i].tolist(), self.boxes[j].tolist()
        left, top, right, bottom = max(x, u), max(y, v), min(x + w, u + r), min(y + h, v + b)
        return self.crop(i)[top - y : max(bottom, top) - y, left - x : max(right, left) - x]

    @cached_property
    def overlaps(self) -> Pairs:
        """As `all_overlaps`, of masks of one kind."""
        if self.kinds is None:
            return self.all_overlaps
        return [p for p in self.all_overlaps if self.kinds[p[0]] == self.kinds[p[1]]]

    @cached_property
    def contacts(self) -> Pairs:
        """(i, j, length) of pairs i < j of one kind that lie side by side and share no pixel; length in pixel edges."""
        if self.kinds is not None:
            found: Pairs = []
            for kind in dict.fromkeys(self.kinds):
                members = [i for i, k in enumerate(self.kinds) if k == kind]
                one = Shapes([self.masks[i] for i in members], self.size)
                found.extend((members[a], members[b], n) for a, b, n in one.contacts)
            return sorted(found)
        hidden = {i for pair in self.all_overlaps for i in pair[:2]}  # whose sides the label map may not show
        shown = [(a - 1, b - 1, n) for a, b, n in _sides(self._painted)]
        return sorted([p for p in shown if not hidden & {p[0], p[1]}] + self._hidden_contacts(sorted(hidden)))

    def _hidden_contacts(self, hidden: list[int]) -> Pairs:
        """Contacts of masks that overlap others, each pair looked at by itself."""
        overlapping = {(i, j) for i, j, _ in self.all_overlaps}
        low, high = self.boxes[:, :2] - 1, self.boxes[:, :2] + self.boxes[:, 2:] + 1
        found: Pairs = []
        for i in hidden:
            near = ((self.boxes[:, :2] < high[i]) & (high - 1 > low[i])).all(axis=1)
            for j in np.flatnonzero(near).tolist():
                pair = (min(i, j), max(i, j))
                if j == i or pair in overlapping or (j in hidden and j < i):
                    continue
                n = self._edges(i, j)
                if n:
                    found.append((*pair, n))
        return found

    def _edges(self, i: int, j: int) -> int:
        """Pixel edges between two masks that share no pixel."""
        x, y, w, h = self.boxes[i].tolist()
        u, v, r, b = self.boxes[j].tolist()
        window = np.zeros((h + 2, w + 2), dtype=np.int32)
        window[1:-1, 1:-1] = self.crop(i)
        left, top, right, bottom = max(x - 1, u), max(y - 1, v), min(x + w + 1, u + r), min(y + h + 1, v + b)
        if left >= right or top >= bottom:
            return 0
        part = self.crop(j)[top - v : bottom - v, left - u : right - u]
        window[top - y + 1 : bottom - y + 1, left - x + 1 : right - x + 1][part] = 2
        return sum(n for _, _, n in _sides(window))

    def meets_others(self, i: int, mask: bytes) -> bool:
        """Whether `mask`, a mask `i` that has grown inside its box, took pixels of another mask of its kind."""
        grown = self._box(rle.decode(mask, self.size), i) & ~self.crop(i)
        if self.kinds is None and self._whole.all():
            return bool((self._box(self._painted, i)[grown] > 0).any())
        x, y, w, h = self.boxes[i].tolist()
        for j in range(len(self)):
            u, v, r, b = self.boxes[j].tolist()
            apart = u >= x + w or v >= y + h or u + r <= x or v + b <= y
            if j == i or apart or (self.kinds is not None and self.kinds[j] != self.kinds[i]):
                continue
            left, top, right, bottom = max(x, u), max(y, v), min(x + w, u + r), min(y + h, v + b)
            if (grown[top - y : bottom - y, left - x : right - x] & self._common(j, i)).any():
                return True
        return False

    def without(self, i: int, others: Iterable[int]) -> tuple[bytes, int]:
        """Mask `i` less other masks, and the area that is left."""
        left = self.crop(i).copy()
        x, y, _, _ = self.boxes[i].tolist()
        for j in others:
            u, v, _, _ = self.boxes[j].tolist()
            taken = self._common(j, i)
            rows, columns = max(y, v) - y, max(x, u) - x
            left[rows : rows + taken.shape[0], columns : columns + taken.shape[1]] &= ~taken
        return self.placed(left, i), int(left.sum())


def on_border(boxes: ArrayLike, size: tuple[int, int]) -> Mask:
    """Whether each tight box (x, y, width, height) reaches the first or last row or column; an empty one does not."""
    x, y, w, h = np.asarray(boxes, dtype=np.int64).reshape(-1, 4).T
    return np.asarray((w > 0) & ((x <= 0) | (y <= 0) | (x + w >= size[1]) | (y + h >= size[0])))


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


def _label(mask: Mask, connectivity: int) -> tuple[NDArray[np.int32], int]:
    from scipy import ndimage

    labels, n = ndimage.label(mask, np.ones((3, 3)) if connectivity == 8 else None)
    return labels, int(n)


def _holes(crop: Mask) -> Mask:
    """Background of a mask cut to its box that is enclosed (joined by edges)."""
    labels, n = _label(np.pad(~crop, 1, constant_values=True), 4)
    inside = np.ones(n + 1, dtype=bool)
    inside[[0, labels[0, 0]]] = False
    return np.asarray(inside[labels[1:-1, 1:-1]])


def _euler8(label_map: NDArray[np.int32], n: int) -> Ints:
    """Parts (by corners) minus holes (by edges) of each label 1..n, from its 2 × 2 patterns.

    Pixels - adjacent pairs + full squares - squares with one diagonal only (Gray 1971, IEEE Trans Comput C-20:551).
    """
    a, b, c, d = label_map[:-1, :-1], label_map[:-1, 1:], label_map[1:, :-1], label_map[1:, 1:]
    across, down = label_map[:, 1:] == label_map[:, :-1], label_map[1:] == label_map[:-1]
    falling, rising = a == d, b == c
    share = np.ones(label_map.shape, dtype=np.int8)  # what each pixel adds to the number of its label
    share[:, 1:] -= across
    share[1:] -= down
    share[:-1, :-1] += falling & across[:-1] & down[:, :-1]
    share[:-1, :-1] -= falling & ~across[:-1] & ~down[:, :-1]
    share[:-1, 1:] -= rising & ~across[:-1] & (b != d)
    inside = label_map > 0
    total = np.bincount(label_map[inside], weights=share[inside], minlength=n + 1)
    return total[1:].astype(np.int64)


def _solidity(crop: Mask) -> float:
    """Area over that of the convex hull of all pixel corners (Andrew's monotone chain over each row's ends)."""
    rows = np.flatnonzero(crop.any(axis=1))
    if rows.size == 0:
        return 1.0
    first = crop[rows].argmax(axis=1)
    last = crop.shape[1] - crop[rows][:, ::-1].argmax(axis=1)
    left, right = np.full(crop.shape[0] + 1, crop.shape[1] + 1), np.full(crop.shape[0] + 1, -1)
    for corner in (rows, rows + 1):
        np.minimum.at(left, corner, first)
        np.maximum.at(right, corner, last)
    at = np.flatnonzero(right >= 0)
    outer, inner = (_chain(list(zip(at.tolist(), x[at].tolist(), strict=True)), s) for x, s in ((right, 1), (left, -1)))
    return float(crop.sum() / (_under(outer) - _under(inner)))


def _chain(points: list[tuple[int, int]], side: int) -> list[tuple[int, int]]:
    """The outer chain of points (row, column) in ascending rows; side 1 keeps the right one, -1 the left."""
    chain: list[tuple[int, int]] = []
    for r, c in points:
        while len(chain) > 1:
            (r1, c1), (r2, c2) = chain[-2], chain[-1]
            if side * ((c2 - c1) * (r - r1) - (c - c1) * (r2 - r1)) > 0:
                break
            chain.pop()
        chain.append((r, c))
    return chain


def _under(chain: list[tuple[int, int]]) -> float:
    """Area between a chain and column 0."""
    return sum((r2 - r1) * (c1 + c2) / 2 for (r1, c1), (r2, c2) in zip(chain, chain[1:], strict=False))


def _sides(label_map: NDArray[np.int32]) -> Pairs:
    """(a, b, edges) of labels a < b that lie side by side."""
    keys = []
    for first, second in ((label_map[:-1], label_map[1:]), (label_map[:, :-1], label_map[:, 1:])):
        at = (first != second) & (first > 0) & (second > 0)
        low, high = np.minimum(first[at], second[at]), np.maximum(first[at], second[at])
        keys.append(low.astype(np.int64) << 32 | high)
    pairs, counts = np.unique(np.concatenate(keys), return_counts=True)
    return [(int(k >> 32), int(k & 0xFFFFFFFF), int(n)) for k, n in zip(pairs.tolist(), counts.tolist(), strict=True)]
