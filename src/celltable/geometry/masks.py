"""The masks of one image: compressed COCO run lengths in one buffer, measured, combined and cut without decoding them.

`RunLengths` is an immutable sequence of run lengths as bytes. `Masks` adds the size of their image, and with it all
computations. Slices are views; `take` copies only what it takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable._native import geometry as _core
from celltable.errors import MaskError

from ._arrays import checked_size, label_array

if TYPE_CHECKING:
    import pyarrow as pa

Size = tuple[int, int]
Ints = NDArray[np.int64]
Boxes = NDArray[np.int32]
POLICIES: Final = ("last-wins", "first-wins", "smallest-wins", "largest-wins")


class RunLengths(Sequence[bytes]):
    """Compressed COCO run lengths of n masks, one after another in one buffer.

    Item i is the bytes ``data[offsets[i]:offsets[i + 1]]``. The buffer may contain other bytes too.

    Attributes
    ----------
    data : uint8
    offsets : int64 (n + 1,)
    """

    __slots__ = ("__dict__", "data", "offsets")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: NDArray[np.uint8], offsets: Ints) -> None:
        self.data = data
        self.offsets = offsets

    @classmethod
    def packed(cls, counts: Iterable[bytes]) -> RunLengths:
        """Copy run lengths into one buffer."""
        return RunLengths(*_packed(counts))

    @classmethod
    def joined(cls, parts: Iterable[RunLengths]) -> RunLengths:
        """Concatenate several sequences."""
        return RunLengths(*_joined(list(parts)))

    @classmethod
    def from_arrow(cls, array: pa.Array) -> RunLengths:
        """Read an Arrow binary array without copying its bytes; it must not contain nulls."""
        if array.null_count:
            raise MaskError(f"{array.null_count} of {len(array)} masks are null; expected run lengths")
        _, ends, data = array.buffers()
        offsets = np.zeros(1, np.int64)
        if len(array):
            offsets = np.frombuffer(ends, np.int32, len(array) + 1, 4 * array.offset).astype(np.int64)
        return RunLengths(np.frombuffer(data or b"", np.uint8), offsets)

    def _with(self, data: NDArray[np.uint8], offsets: Ints, part: Any) -> Self:
        """Make a sequence of the same type from some of the items; `part` indexes arrays of one entry per item."""
        return type(self)(data, offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> bytes | Self:
        """Return one item as bytes, or a slice, which is a view unless it has a step."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return self.take(np.arange(start, stop, step))
            stop = max(start, stop)
            return self._with(self.data, self.offsets[start : stop + 1], slice(start, stop))
        k = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= k < len(self):
            raise IndexError(f"mask {index} of {len(self)}")
        return self.data[self.offsets[k] : self.offsets[k + 1]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        first, *ends = self.offsets.tolist()
        text = self.data[first : ends[-1] if ends else first].tobytes()
        start = 0
        for end in ends:
            yield text[start : end - first]
            start = end - first

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence) and not isinstance(other, str | bytes):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} masks, {self.lengths.sum():,} bytes>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._compact()

    def _compact(self) -> tuple[NDArray[np.uint8], Ints]:
        """Return the buffer without the bytes before and after the items, and the offsets in it."""
        first, last = int(self.offsets[0]), int(self.offsets[-1])
        return self.data[first:last], self.offsets - first

    @property
    def lengths(self) -> Ints:
        """Bytes of each item, int64 (n,)."""
        return self.offsets[1:] - self.offsets[:-1]

    def take(self, indices: ArrayLike) -> Self:
        """Copy the items at `indices` (positions, or one boolean per item), in that order."""
        where = np.asarray(indices)
        where = np.flatnonzero(where) if where.dtype == bool else np.ascontiguousarray(where, np.int64)
        return self._with(*_core.take(self, where), where)

    def to_arrow(self) -> pa.BinaryArray:
        """Return the items as an Arrow binary array that shares the buffer.

        Raises
        ------
        MaskError
            If they take 2 GB or more, which Arrow's 32-bit offsets cannot address.
        """
        import pyarrow as pa

        data, offsets = self._compact()
        if offsets[-1] > np.iinfo(np.int32).max:
            raise MaskError(f"{len(self):,} masks take {offsets[-1]:,} bytes; expected less than 2 GB in one table")
        buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(np.ascontiguousarray(data))]
        return pa.Array.from_buffers(pa.binary(), len(self), buffers)


class Masks(RunLengths):
    """The masks of one image of `size` (height, width).

    Parameters
    ----------
    data, offsets
        Run lengths, as in `RunLengths`. They are checked when something is computed from them.
    size
        (height, width) of the image.
    areas, boxes
        int64 (n,) and int32 (n, 4), if already known; otherwise computed on demand.

    >>> masks = Masks.from_arrays([np.array([[0, 1], [0, 1]]), np.array([[1, 0], [0, 0]])], (2, 2))
    >>> list(masks), masks.areas.tolist(), masks.boxes.tolist()
    ([b'22', b'013'], [2, 1], [[1, 0, 1, 2], [0, 0, 1, 1]])
    >>> masks[1:], masks.union()
    (<Masks: 1 masks, 3 bytes>, b'0111')
    """

    __slots__ = ("size",)

    def __init__(
        self,
        data: NDArray[np.uint8],
        offsets: Ints,
        size: Size,
        areas: Ints | None = None,
        boxes: Boxes | None = None,
    ) -> None:
        super().__init__(data, offsets)
        self.size = checked_size(size)
        if areas is not None:
            self.__dict__["areas"] = areas
        if boxes is not None:
            self.__dict__["boxes"] = boxes

    @classmethod
    def of(
        cls,
        counts: Iterable[bytes] | RunLengths,
        size: Size,
        areas: Ints | None = None,
        boxes: Boxes | None = None,
    ) -> Masks:
        """Make masks of `size` from run lengths; a buffer is shared, separate byte strings are copied into one."""
        data, offsets = (counts.data, counts.offsets) if isinstance(counts, RunLengths) else _packed(counts)
        return cls(data, offsets, size, areas, boxes)

    @classmethod
    def from_arrays(cls, masks: Iterable[ArrayLike], size: Size) -> Masks:
        """Encode arrays (row, column) of the full image; any non-zero pixel belongs to its mask."""
        from .rle import encode

        return cls.of([encode(np.asarray(m)) for m in masks], size)

    @classmethod
    def concat(cls, parts: Sequence[Masks]) -> Masks:
        """Concatenate the masks of one or more sequences of the same size."""
        sizes = {part.size for part in parts}
        if len(sizes) != 1:
            raise MaskError(f"masks of {len(sizes)} sizes cannot be put together: {sorted(sizes)}; expected one size")
        known = all(part.measured for part in parts)
        areas, boxes = (
            (np.concatenate([p.areas for p in parts]), np.concatenate([p.boxes for p in parts]))
            if known
            else (None, None)
        )
        return cls(*_joined(parts), parts[0].size, areas, boxes)

    def _with(self, data: NDArray[np.uint8], offsets: Ints, part: Any) -> Self:
        known = (self.__dict__.get(name) for name in ("areas", "boxes"))
        areas, boxes = (None if values is None else values[part] for values in known)
        return type(self)(data, offsets, self.size, areas, boxes)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self._compact(), self.size, self.__dict__.get("areas"), self.__dict__.get("boxes"))

    @cached_property
    def _measures(self) -> tuple[Ints, Boxes]:
        return _core.measures(self, *self.size)

    @cached_property
    def areas(self) -> Ints:
        """Area of each mask, int64 (n,), px². Raises MaskError, naming the mask, if run lengths are not valid."""
        return self._measures[0]

    @cached_property
    def boxes(self) -> Boxes:
        """Tight box of each mask, int32 (n, 4): x, y, width, height; zeros for an empty mask."""
        return self._measures[1]

    @property
    def measured(self) -> bool:
        """Whether areas and boxes are known already, so that they cost nothing."""
        return "areas" in self.__dict__ and "boxes" in self.__dict__

    def check(self) -> None:
        """Raise MaskError, naming the mask and the reason, unless all run lengths are valid for the size."""
        _ = self._measures

    def faults(self) -> dict[int, str]:
        """Say which run lengths are not a mask of this size, and why; empty if all are valid."""
        return _core.faults(self, *self.size)

    def decode(self, index: int) -> NDArray[np.bool_]:
        """Return one mask as booleans (height, width)."""
        return _core.decode(self[index], *self.size).view(np.bool_)

    def flatten(self, ids: ArrayLike | None = None, policy: str = "last-wins") -> Flattened:
        """Paint the masks into one label map; a named policy decides overlaps, and the loss is counted.

        Parameters
        ----------
        ids
            The label of each mask; 1..n by default.
        policy
            ``last-wins``, ``first-wins``, ``smallest-wins`` or ``largest-wins`` (of equal areas the later one wins).

        >>> flat = Masks.from_arrays([[[1, 1, 0]], [[0, 1, 1]]], (1, 3)).flatten(policy="first-wins")
        >>> flat.label_map.tolist(), flat.lost_pixels
        ([[1, 1, 2]], 1)
        """
        n = len(self)
        labels = np.arange(1, n + 1, dtype=np.int32) if ids is None else _labels(ids)
        order = np.arange(n, dtype=np.int64)
        if policy == "first-wins":
            order = order[::-1].copy()
        elif policy in ("smallest-wins", "largest-wins"):
            keys = -self.areas if policy == "smallest-wins" else self.areas
            order = np.argsort(keys, kind="stable").astype(np.int64)
        elif policy != "last-wins":
            raise MaskError(f"no flattening policy is called '{policy}'; there are {', '.join(POLICIES)}")
        return Flattened(*_core.paint(self, *self.size, labels, order))

    def union(self) -> bytes:
        """Return the union of all masks; an empty mask if there are none."""
        return _core.merge(self, *self.size, False)

    def intersection(self) -> bytes:
        """Return the pixels that all masks share; an empty mask if there are none."""
        return _core.merge(self, *self.size, True)

    @cached_property
    def disjoint(self) -> bool:
        """Return whether no two masks share pixels."""
        return _core.disjoint(self, *self.size)

    def iou(self, others: Masks, iscrowd: ArrayLike | None = None) -> NDArray[np.float64]:
        """Compute the IoU of each mask with each of `others` as pycocotools does, float64 (n, m).

        Where `iscrowd` (one entry per mask of `others`) is set, it is the intersection over the mask's own area.
        """
        self.need_same_size(others)
        crowd = np.zeros(len(others), np.uint8) if iscrowd is None else np.ascontiguousarray(iscrowd, dtype=np.uint8)
        return _core.iou(self, others, *self.size, crowd)

    def need_same_size(self, others: Masks) -> None:
        """Raise MaskError unless the masks of `others` have the size of these."""
        if self.size != others.size:
            (h, w), (other_h, other_w) = self.size, others.size
            raise MaskError(f"masks of {h} × {w} px beside masks of {other_h} × {other_w} px; expected one size")

    def crop(self, box: Sequence[int]) -> Masks:
        """Cut the window `box` (x, y, width, height) out of each mask; the result has the window's size."""
        x, y, width, height = (int(v) for v in box)
        return Masks(*_core.window(self, *self.size, x, y, width, height, False), (height, width))

    def paste(self, box: Sequence[int], image_size: Size) -> Masks:
        """Place masks of a window into the image of `image_size`, at the window's `box` (x, y, width, height)."""
        x, y, width, height = (int(v) for v in box)
        if (height, width) != self.size:
            raise MaskError(
                f"masks of {self.size[0]} × {self.size[1]} px in a window of {height} × {width} px; "
                "expected the same size"
            )
        size = checked_size(image_size)
        return Masks(*_core.window(self, *size, x, y, width, height, True), size)

    def components(self, connectivity: int = 8) -> list[Masks]:
        """Return each mask's connected parts (4: by edges, 8: also by corners), column-major by first pixel."""
        parts, first = _core.parts(self, *self.size, connectivity)
        masks, bounds = Masks(*parts, self.size), first.tolist()
        return [masks[a:b] for a, b in pairwise(bounds)]

    def count_components(self) -> tuple[Ints, Ints]:
        """Count the 4-connected and the 8-connected parts of each mask, int64 (n,) each."""
        return _core.part_numbers(self, *self.size)

    def holes(self, connectivity: int = 4) -> Holes:
        """Measure the background enclosed by each mask; `connectivity` is its own (4: a diagonal gap stays closed)."""
        return Holes(*_core.holes(self, *self.size, connectivity, False)[:3])

    def fill_holes(self, connectivity: int = 4) -> Masks:
        """Return the masks with the holes that `holes` counts filled."""
        return Masks(*_core.holes(self, *self.size, connectivity, True)[3], self.size)

    def hull_areas(self) -> NDArray[np.float64]:
        """Compute the area of the convex hull of each mask's pixel corners, px²; solidity is area over this."""
        return _core.hull_areas(self, *self.size)


class Labelled(NamedTuple):
    """The cells of a label map: `ids` int64 (n,) ascending, and their masks with areas and boxes."""

    ids: Ints
    masks: Masks


def from_label_map(label_map: ArrayLike) -> Labelled:
    """Encode every label of a label map in one pass.

    Parameters
    ----------
    label_map
        Integers (row, column), 0 = background; any integer type and memory layout.

    Raises
    ------
    MaskError
        If it is not 2-D, not of integers, or contains a negative label.

    >>> ids, masks = from_label_map(np.array([[0, 7, 7, 2]]))
    >>> ids.tolist(), masks.areas.tolist(), masks.boxes.tolist()
    ([2, 7], [1, 2], [[3, 0, 1, 1], [1, 0, 2, 1]])
    """
    array, transposed = label_array(label_map)
    ids, (data, offsets), areas, boxes = _core.label_rles(array, transposed)
    height, width = reversed(array.shape) if transposed else array.shape
    return Labelled(ids, Masks(data, offsets, (height, width), areas, boxes))


@dataclass(frozen=True, slots=True)
class Flattened:
    """A label map made of masks: int32 (height, width), and what it could not hold.

    `lost_pixels` counts pixels of cells that the map gives to another cell, `lost_instances` cells without any pixels
    left.
    """

    label_map: NDArray[np.int32]
    lost_pixels: int
    lost_instances: int


@dataclass(frozen=True, slots=True)
class Holes:
    """Holes of each mask: their number, their total area, and the area of the largest; int64 (n,)."""

    number: Ints
    pixels: Ints
    largest: Ints


def _packed(counts: Iterable[bytes]) -> tuple[NDArray[np.uint8], Ints]:
    texts = counts if isinstance(counts, list | tuple) else list(counts)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return np.frombuffer(b"".join(texts), np.uint8), _offsets(lengths)


def _joined(parts: Sequence[RunLengths]) -> tuple[NDArray[np.uint8], Ints]:
    compact = [part._compact() for part in parts]
    lengths = np.concatenate([np.zeros(0, np.int64), *(part.lengths for part in parts)])
    data = np.concatenate([np.zeros(0, np.uint8), *(data for data, _ in compact)])
    return data, _offsets(lengths)


def _offsets(lengths: Ints) -> Ints:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _labels(ids: ArrayLike) -> NDArray[np.int32]:
    values, limits = np.asarray(ids), np.iinfo(np.int32)
    if values.size and values.dtype.kind not in "iu":
        raise MaskError(f"labels are whole numbers; found {values.dtype}")
    if values.size and not limits.min <= int(values.min()) <= int(values.max()) <= limits.max:
        raise MaskError(f"labels from {values.min()} to {values.max()}; a painted label map holds int32 labels")
    return np.ascontiguousarray(values, dtype=np.int32)
