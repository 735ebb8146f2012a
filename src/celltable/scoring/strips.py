"""Label maps read in strips of rows, so that a map on disk is never wholly in memory: overlaps, centres, outlines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable._native import pairing
from celltable.geometry import overlap as overlaps

Ints = NDArray[np.int64]
STRIP = 1 << 22  # pixels of a map in memory at once
WINDOW = 2 * STRIP  # pixels whose outlines are counted at once, without the rows around them


def native_map(label_map: NDArray[Any]) -> NDArray[Any]:
    """Convert a label map to a type and memory order that the core accepts."""
    known = label_map.dtype in (np.uint8, np.uint16, np.int32, np.uint32, np.int64)
    return np.ascontiguousarray(label_map, label_map.dtype if known else np.int64)


def strips_of(label_map: Any) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the first row's index and the rows of each strip; the rows are valid until the next strip is read."""
    step, read = max(1, STRIP // max(label_map.shape[1], 1)), rolling(label_map)
    for y in range(0, max(label_map.shape[0], 1), step):
        yield y, read(y, min(y + step, label_map.shape[0]))


def paired_strips(gt: Any, pred: Any) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield the same rows of two maps, strip by strip; they are valid until the next strip is read."""
    read = rolling(pred)
    for y, rows in strips_of(gt):
        yield rows, read(y, min(y + len(rows), pred.shape[0]))


def label_sums(label_map: Any, ids: Ints) -> NDArray[Any]:
    """Sum x and y over the pixels of each label of `ids` (ascending), int64 (n, 2)."""
    if isinstance(label_map, np.ndarray):
        return pairing.coordinate_sums(native_map(label_map), ids)
    sums = np.zeros((len(ids), 2), np.int64)
    for y, rows in strips_of(label_map):
        part = overlaps.overlap_of_label_maps(rows, np.zeros(rows.shape, np.uint8))
        inside = np.isin(part.gt_ids, ids)
        at = np.searchsorted(ids, part.gt_ids[inside])
        sums[at] += pairing.coordinate_sums(native_map(rows), ids)[at]
        sums[at, 1] += y * part.gt_areas[inside]
    return sums


def boundary_counts(gt: Any, pred: Any, boxes: Sequence[NDArray[Any]], radii: Sequence[float], wrap: bool) -> Ints:
    """Count pixels within each radius of the outlines of both maps, of `gt` and of `pred`, int64 (radii, 3).

    A map on disk is read in windows of rows, together with the surrounding rows that their outlines depend on; the
    `boxes` (x, y, width, height) of each map's cells tell how many these are. Each window counts only its own rows.
    """
    if isinstance(gt, np.ndarray) and isinstance(pred, np.ndarray):
        return pairing.boundary(*_same_type(gt, pred), radii, wrap)
    height, width = gt.shape
    y, end = (np.concatenate([b[:, 1] + k * b[:, 3] for b in boxes]).astype(np.int64) for k in (0, 1))
    reach, step = int(np.ceil(max(radii, default=0.0))) + 1, max(1, WINDOW // max(width, 1))
    sides, total = (rolling(gt), rolling(pred)), np.zeros((len(radii), 3), np.int64)
    for first in range(0, height, step):
        last = min(first + step, height)
        low, high = max(0, first - reach), min(height, last + reach)
        near = (y < high) & (end > low)  # cells that extend into these rows are needed whole
        low, high = min(low, int(y[near].min(initial=low))), max(high, int(end[near].max(initial=high)))
        maps = _same_type(*(read(low, high) for read in sides))
        total += pairing.boundary(*maps, radii, wrap, first - low, last - low)
    return total


def _same_type(gt: NDArray[Any], pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    gt, pred = native_map(gt), native_map(pred)
    return (gt, pred) if gt.dtype == pred.dtype else (gt.astype(np.int64), pred.astype(np.int64))


def rolling(label_map: Any) -> Callable[[int, int], NDArray[Any]]:
    """Make a function that reads rows from top to bottom; a request may overlap the last one and invalidates it."""
    return _Rolling(label_map).rows if hasattr(label_map, "read_into") else lambda start, stop: label_map[start:stop]


class _Rolling:
    """Rows of a map on disk in one buffer; rows that are requested again are moved to its start."""

    def __init__(self, label_map: Any) -> None:
        self.map, self.start, self.stop = label_map, 0, 0
        self.buffer: NDArray[Any] = np.empty((0, label_map.shape[1]), label_map.dtype)

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        kept = self.buffer[:0]
        if self.start <= start:
            kept = self.buffer[start - self.start : min(stop, self.stop) - self.start]
        if len(self.buffer) < stop - start:
            self.buffer = np.empty((stop - start, self.map.shape[1]), self.map.dtype)
        self.buffer[: len(kept)] = kept
        self.map.read_into(start + len(kept), self.buffer[len(kept) : stop - start])
        self.start, self.stop = start, stop
        return self.buffer[: stop - start]
