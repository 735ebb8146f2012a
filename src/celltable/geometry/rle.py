"""One mask as compressed COCO run lengths: encode and decode it, and convert it to and from other notations.

A mask is the `counts` of COCO's compressed run-length encoding as bytes (column-major; pycocotools' maskApi.c); its
size (height, width) is given beside it. The bytes are identical to those of pycocotools. `Masks` holds many of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable._native import geometry as _core
from celltable.errors import MaskError

from ._arrays import checked_size

Size = tuple[int, int]


def encode(mask: ArrayLike) -> bytes:
    """Encode one mask (row, column) as counts; any non-zero pixel belongs to it.

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
    """Decode counts to booleans (height, width).

    Raises
    ------
    MaskError
        If the counts are not valid for the size.
    """
    return _core.decode(counts, *checked_size(size)).view(np.bool_)


def to_runs(counts: bytes, size: Size) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Convert counts to starts and lengths of runs, column by column from 0; adjacent runs are joined."""
    height, width = checked_size(size)
    starts, lengths = _core.to_runs(counts, height * width)
    return starts, lengths


def from_runs(starts: ArrayLike, lengths: ArrayLike, size: Size) -> bytes:
    """Convert ascending, disjoint runs to counts; the inverse of `to_runs`."""
    height, width = checked_size(size)
    return _core.from_runs(
        np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(lengths, np.int64), height * width
    )


def to_uncompressed(counts: bytes, size: Size | None = None) -> list[int]:
    """Convert to COCO's uncompressed counts: lengths of alternating runs, the first of zeros (possibly 0).

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
    """Convert from COCO's uncompressed counts.

    Raises
    ------
    MaskError
        If a count is negative or not a whole number, or they do not add up to height × width.
    """
    values = np.asarray(counts)
    height, width = checked_size(size)
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
    """Convert from Kaggle's ``start length …`` text: 1-based, column-major (Data Science Bowl 2018).

    Raises
    ------
    MaskError
        With the first rule that is broken: an odd number of tokens, a token that is not a number, a length of 0 or
        less, a start below 1, runs that are not ascending, overlap, or leave the image.

    >>> to_uncompressed(from_kaggle("1 3 10 5", (4, 5)))
    [0, 3, 6, 5, 6]
    """
    height, width = checked_size(size)
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
        raise MaskError("the run lengths contain a pixel twice")
    return from_runs(starts - 1, lengths, (height, width))


def to_kaggle(counts: bytes, size: Size) -> str:
    """Convert to Kaggle's ``start length …`` text; empty for an empty mask."""
    starts, lengths = to_runs(counts, size)
    return " ".join(map(str, np.stack([starts + 1, lengths], axis=1).ravel().tolist()))


def difference(a: bytes, b: bytes, size: Size) -> bytes:
    """Return the pixels of `a` that are not in `b`."""
    return _core.subtract(a, b, *checked_size(size))
