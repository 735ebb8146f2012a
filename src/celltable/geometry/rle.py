"""Masks as compressed COCO run lengths: made, read, combined, cut and measured without ever holding a stack of masks.

A mask is the `counts` of COCO's compressed run-length encoding as bytes (column-major; pycocotools' maskApi.c), its
size (height, width) given beside. The texts are byte-identical to those of pycocotools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable._native import geometry as _core
from celltable.errors import MaskError

from ._arrays import label_array

Size = tuple[int, int]
Counts = Sequence[bytes]
POLICIES: Final = ("last-wins", "first-wins", "smallest-wins", "largest-wins")


@dataclass(frozen=True, slots=True)
class LabelRles:
    """Labels of a label map: `ids` int64 (n,) ascending, `counts`, `areas` int64 px², `boxes` int32 (n, 4) x y w h."""

    ids: NDArray[np.int64]
    counts: list[bytes]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Flattened:
    """A label map made of masks: int32 (height, width), and what it could not hold.

    `lost_pixels` counts pixels of cells that another cell has in the map, `lost_instances` cells with no pixel left.
    """

    label_map: NDArray[np.int32]
    lost_pixels: int
    lost_instances: int


def from_label_map(label_map: ArrayLike) -> LabelRles:
    """Every label of a label map, in one pass.

    Parameters
    ----------
    label_map
        Integers (row, column), 0 = background; any integer type and memory layout.

    Raises
    ------
    MaskError
        If it is not 2-D, not of integers, or holds a negative label.

    >>> found = from_label_map(np.array([[0, 7, 7, 2]]))
    >>> found.ids.tolist(), found.areas.tolist(), found.boxes.tolist()
    ([2, 7], [1, 2], [[3, 0, 1, 1], [1, 0, 2, 1]])
    """
    array, transposed = label_array(label_map)
    ids, counts, areas, boxes = _core.label_rles(array, transposed)
    return LabelRles(ids, counts, areas, boxes)


def flatten(
    counts: Counts,
    size: Size,
    *,
    ids: ArrayLike | None = None,
    policy: str = "last-wins",
    areas: ArrayLike | None = None,
) -> Flattened:
    """Paint masks into one label map, overlaps decided by a named policy, the loss counted.

    Parameters
    ----------
    counts, size
        Masks of one size.
    ids
        The label of each mask; 1..n by default.
    policy
        ``last-wins``, ``first-wins``, ``smallest-wins`` or ``largest-wins`` (of equal areas the later one wins).
    areas
        Areas of the masks where they are known.

    >>> a, b = encode(np.array([[1, 1, 0]])), encode(np.array([[0, 1, 1]]))
    >>> flat = flatten([a, b], (1, 3), policy="first-wins")
    >>> flat.label_map.tolist(), flat.lost_pixels
    ([[1, 1, 2]], 1)
    """
    n = len(counts)
    labels = np.arange(1, n + 1, dtype=np.int32) if ids is None else _labels(ids)
    order = np.arange(n, dtype=np.int64)
    if policy == "first-wins":
        order = order[::-1].copy()
    elif policy in ("smallest-wins", "largest-wins"):
        sizes = np.asarray(measure(counts, size)[0] if areas is None else areas)
        order = np.argsort(-sizes if policy == "smallest-wins" else sizes, kind="stable").astype(np.int64)
    elif policy != "last-wins":
        raise MaskError(f"no flattening policy is called '{policy}'; there are {', '.join(POLICIES)}")
    label_map, pixels, cells = _core.paint(counts, *_size(size), labels, order)
    return Flattened(label_map, pixels, cells)


def _labels(ids: ArrayLike) -> NDArray[np.int32]:
    values, limits = np.asarray(ids), np.iinfo(np.int32)
    if values.size and values.dtype.kind not in "iu":
        raise MaskError(f"labels are whole numbers; found {values.dtype}")
    if values.size and not limits.min <= int(values.min()) <= int(values.max()) <= limits.max:
        raise MaskError(f"labels from {values.min()} to {values.max()}; a painted label map holds int32 labels")
    return np.ascontiguousarray(values, dtype=np.int32)


def to_label_map(
    counts: Counts, size: Size, ids: ArrayLike | None = None, policy: str = "last-wins"
) -> NDArray[np.int32]:
    """As `flatten`, the label map alone."""
    return flatten(counts, size, ids=ids, policy=policy).label_map


def encode(mask: ArrayLike) -> bytes:
    """Counts of one mask (row, column); any non-zero pixel belongs to it.

    >>> encode(np.array([[0, 1], [0, 1]]))
    b'22'
    """
    array = np.asarray(mask)
    if array.ndim != 2:
        raise MaskError(f"a mask has two axes (row, column); found {array.ndim}: {array.shape}")
    plain = array if array.dtype == bool else array != 0
    if plain.flags.f_contiguous and not plain.flags.c_contiguous:
        return _core.encode(plain.T.view(np.uint8), True)
    return _core.encode(np.ascontiguousarray(plain).view(np.uint8), False)


def decode(counts: bytes, size: Size) -> NDArray[np.bool_]:
    """The mask as booleans (height, width).

    Raises
    ------
    MaskError
        If the counts are not valid for that size.
    """
    return _core.decode(counts, *_size(size)).view(np.bool_)


def check(counts: Counts, size: Size) -> None:
    """Raise MaskError, naming the mask and the reason, unless all counts are valid for that size."""
    _core.measures(counts, *_size(size))


validate = check


def measure(counts: Counts, size: Size) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Areas int64 (n,) in px² and tight boxes int32 (n, 4): x, y, width, height (all 0 for an empty mask)."""
    areas, boxes = _core.measures(counts, *_size(size))
    return areas, boxes


def areas(counts: Counts, size: Size) -> NDArray[np.int64]:
    """Pixels of each mask, int64 (n,)."""
    return measure(counts, size)[0]


def boxes(counts: Counts, size: Size) -> NDArray[np.int32]:
    """Tight box of each mask, int32 (n, 4): x, y, width, height; zeros for an empty mask."""
    return measure(counts, size)[1]


def to_runs(counts: bytes, size: Size) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and lengths of a mask's runs, positions counted column by column from 0; neighbouring runs are joined."""
    height, width = _size(size)
    starts, lengths = _core.to_runs(counts, height * width)
    return starts, lengths


def from_runs(starts: ArrayLike, lengths: ArrayLike, size: Size) -> bytes:
    """Counts of a mask from ascending, disjoint runs; the inverse of `to_runs`."""
    height, width = _size(size)
    return _core.from_runs(
        np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(lengths, np.int64), height * width
    )


def to_uncompressed(counts: bytes, size: Size | None = None) -> list[int]:
    """COCO's uncompressed counts: lengths of alternating runs, the first of zeros (possibly 0).

    >>> to_uncompressed(b'22')
    [2, 2]
    """
    values: list[int] = []
    at = 0
    while at < len(counts):
        value = shift = 0
        more = True
        while more:
            if at >= len(counts):
                raise MaskError("the run lengths end in the middle of a number")
            digit = counts[at] - 48
            if not 0 <= digit < 64:
                raise MaskError("the run lengths hold a character outside '0' to 'o'")
            value |= (digit & 31) << shift
            more, at, shift = bool(digit & 32), at + 1, shift + 5
        if digit & 16:
            value -= 1 << shift
        values.append(value + (values[-2] if len(values) > 2 else 0))
    if size is not None and (min(values, default=0) < 0 or sum(values) != size[0] * size[1]):
        raise MaskError(f"the run lengths add up to {sum(values)}; expected {size[0]} × {size[1]}")
    return values


def from_uncompressed(counts: Sequence[int], size: Size) -> bytes:
    """Compressed counts from COCO's uncompressed ones.

    Raises
    ------
    MaskError
        If a count is negative or no whole number, or they do not add up to height × width.
    """
    values = np.asarray(counts)
    height, width = _size(size)
    if values.size and values.dtype.kind not in "iu":
        raise MaskError(f"run lengths are whole numbers; found {values.dtype}")
    values = values.astype(np.int64)
    if values.size and int(values.min()) < 0:
        raise MaskError(f"the run lengths hold the negative count {int(values.min())}")
    if int(values.sum()) != height * width:
        raise MaskError(
            f"the run lengths add up to {int(values.sum())}; expected {height} × {width} = {height * width}"
        )
    ends = np.cumsum(values)
    return from_runs(ends[:-1][::2], values[1::2], (height, width))


def from_kaggle(text: str, size: Size) -> bytes:
    """Counts of a mask from Kaggle's ``start length …`` text: 1-based, column-major (Data Science Bowl 2018).

    Raises
    ------
    MaskError
        With the first rule that is broken: an odd number of tokens, a token that is no number, a length of 0 or less, a
        start below 1, runs that are not ascending, that overlap, or that leave the image.

    >>> to_uncompressed(from_kaggle("1 3 10 5", (4, 5)))
    [0, 3, 6, 5, 6]
    """
    height, width = _size(size)
    tokens = text.split()
    if len(tokens) % 2:
        raise MaskError(f"the run lengths have {len(tokens)} numbers; expected pairs of start and length")
    try:
        values = np.array([int(t) for t in tokens], dtype=np.int64).reshape(-1, 2)
    except (ValueError, OverflowError):
        bad = next((t for t in tokens if not t.lstrip("+-").isdigit() or len(t) > 18), tokens[0])
        raise MaskError(f"the run lengths hold '{bad[:20]}'; expected whole numbers") from None
    starts, lengths = values[:, 0], values[:, 1]
    if (lengths <= 0).any():
        raise MaskError(f"the run lengths hold a run of length {int(lengths[lengths <= 0][0])}; expected 1 or more")
    if (starts < 1).any():
        raise MaskError(f"the run lengths start at pixel {int(starts[starts < 1][0])}; expected 1 or more (1-based)")
    if (starts + lengths - 1 > height * width).any():
        raise MaskError(
            f"the run lengths reach pixel {int((starts + lengths - 1).max())} of an image of {height * width} pixels"
        )
    if (np.diff(starts) <= 0).any():
        raise MaskError("the run lengths are not sorted by start")
    if (starts[1:] < (starts + lengths)[:-1]).any():
        raise MaskError("the run lengths hold a pixel twice")
    return from_runs(starts - 1, lengths, (height, width))


def to_kaggle(counts: bytes, size: Size) -> str:
    """Kaggle's ``start length …`` text of a mask; empty for an empty mask."""
    starts, lengths = to_runs(counts, size)
    return " ".join(map(str, np.stack([starts + 1, lengths], axis=1).ravel().tolist()))


def union(counts: Counts, size: Size) -> bytes:
    """All pixels of any of the masks; empty for no masks."""
    return _core.merge(counts, *_size(size), False)


def intersection(counts: Counts, size: Size) -> bytes:
    """The pixels that all masks share; empty for no masks."""
    return _core.merge(counts, *_size(size), True)


def difference(a: bytes, b: bytes, size: Size) -> bytes:
    """The pixels of `a` that are not in `b`."""
    return _core.subtract(a, b, *_size(size))


def iou(a: Counts, b: Counts, size: Size, iscrowd: ArrayLike | None = None) -> NDArray[np.float64]:
    """Intersection over union of every mask of `a` with every one of `b`, float64 (len(a), len(b)), as pycocotools.

    Where `iscrowd` (one entry a mask of `b`) is set, the intersection over the area of the mask of `a`.
    """
    crowd = np.zeros(len(b), np.uint8) if iscrowd is None else np.ascontiguousarray(iscrowd, dtype=np.uint8)
    return _core.iou(a, b, *_size(size), crowd)


def crop(counts: Counts, size: Size, box: Sequence[int]) -> list[bytes]:
    """The part of each mask inside the window `box` (x, y, width, height), as masks of the window's size."""
    x, y, width, height = (int(v) for v in box)
    return _core.window(counts, *_size(size), x, y, width, height, False)


def paste(counts: Counts, size: Size, box: Sequence[int], image_size: Size) -> list[bytes]:
    """Masks of a window as masks of the image of `image_size` that the window `box` (x, y, width, height) lies in."""
    x, y, width, height = (int(v) for v in box)
    if (height, width) != _size(size):
        raise MaskError(
            f"masks of {size[0]} × {size[1]} px in a window of {height} × {width} px; expected the same size"
        )
    return _core.window(counts, *_size(image_size), x, y, width, height, True)


def components(counts: Counts, size: Size, connectivity: int = 8) -> list[list[bytes]]:
    """The connected parts of each mask (4: by edges, 8: also by corners), in column-major order of first pixels."""
    return _core.parts(counts, *_size(size), connectivity)


def count_components(counts: Counts, size: Size) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of parts of each mask under 4- and under 8-connectivity."""
    four, eight = _core.part_numbers(counts, *_size(size))
    return four, eight


@dataclass(frozen=True, slots=True)
class Holes:
    """Holes of each mask: their number, their pixels in all, and those of the largest; int64 (n,)."""

    number: NDArray[np.int64]
    pixels: NDArray[np.int64]
    largest: NDArray[np.int64]


def holes(counts: Counts, size: Size, connectivity: int = 4) -> Holes:
    """Background that a mask encloses; `connectivity` is the background's (4: a diagonal gap does not open it)."""
    number, pixels, largest, _ = _core.holes(counts, *_size(size), connectivity, False)
    return Holes(number, pixels, largest)


def fill_holes(counts: Counts, size: Size, connectivity: int = 4) -> list[bytes]:
    """The masks with the holes that `holes` counts filled."""
    return list(_core.holes(counts, *_size(size), connectivity, True)[3])


def hull_areas(counts: Counts, size: Size) -> NDArray[np.float64]:
    """Area of the convex hull of all pixel corners of each mask, px²; solidity is area over this."""
    return _core.hull_areas(counts, *_size(size))


def _size(size: Any) -> tuple[int, int]:
    height, width = (int(v) for v in size)
    if not (0 <= height < 1 << 31 and 0 <= width < 1 << 31 and height * width <= 1 << 40):
        raise MaskError(f"a mask of {height} × {width} px: expected sides of 0 or more and at most 2^40 pixels")
    return height, width
