"""Decode many single-object mask PNGs into compressed COCO run lengths, areas and boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from celltable.geometry.masks import Masks, RunLengths

_MODES = {
    (0, 1): "1",
    (0, 2): "L;2",
    (0, 4): "L;4",
    (0, 8): "L",
    (0, 16): "I;16",
    (2, 8): "RGB",
    (2, 16): "RGB;16",
    (3, 1): "P;1",
    (3, 2): "P;2",
    (3, 4): "P;4",
    (3, 8): "P",
    (4, 8): "LA",
    (4, 16): "LA;16",
    (6, 8): "RGBA",
    (6, 16): "RGBA;16",
}


@dataclass(frozen=True, slots=True)
class MaskBatch:
    """The result of decoding n mask files, in the requested order.

    Foreground is every pixel with a colour sample above zero; an alpha channel does not count.

    Attributes
    ----------
    counts
        Run lengths of the full image; empty if the file could not be read.
    areas
        int64 (n,), foreground pixels.
    boxes
        int32 (n, 4): x, y, width, height of the tight box; zeros for an empty mask.
    sizes
        int32 (n, 2): height and width; zeros if the header could not be read.
    values_ok
        bool (n,): whether all samples are 0 or the largest value of the bit depth (255).
    alpha_ok
        bool (n,): whether the alpha channel is missing or constant.
    modes
        Colour type of each file as Pillow names it (``"L"``, ``"RGBA"``, ``"I;16"``, …); ``""`` if unknown.
    errors
        (position, message) of each file that could not be read.
    """

    counts: RunLengths
    areas: NDArray[np.int64]
    boxes: NDArray[np.int32]
    sizes: NDArray[np.int32]
    values_ok: NDArray[np.bool_]
    alpha_ok: NDArray[np.bool_]
    modes: list[str]
    errors: list[tuple[int, str]]

    def __len__(self) -> int:
        return len(self.counts)

    def masks(self, size: tuple[int, int]) -> tuple[NDArray[np.intp], Masks]:
        """Select the masks of `size` (height, width), and their positions in the batch."""
        where = np.flatnonzero((self.sizes == size).all(axis=1))
        counts = self.counts if len(where) == len(self) else self.counts.take(where)
        return where, Masks.of(counts, size, self.areas[where], self.boxes[where])

    def take(self, indices: Sequence[int]) -> MaskBatch:
        """Select some of the files, in the order of `indices`."""
        where = np.asarray(indices, np.intp)
        place = {k: i for i, k in enumerate(where.tolist())}
        return MaskBatch(
            self.counts.take(where),
            self.areas[where],
            self.boxes[where],
            self.sizes[where],
            self.values_ok[where],
            self.alpha_ok[where],
            [self.modes[k] for k in where.tolist()],
            sorted((place[k], text) for k, text in self.errors if k in place),
        )

    def with_arrays(self, arrays: Mapping[int, NDArray[Any]]) -> MaskBatch:
        """Replace some files, by position, with pixels (row, column) that were read in another way."""
        if not arrays:
            return self
        drawn = {k: Masks.from_arrays([a], (int(a.shape[0]), int(a.shape[1]))) for k, a in arrays.items()}
        made = replace(
            self,
            counts=RunLengths.packed(drawn[k][0] if k in drawn else own for k, own in enumerate(self.counts)),
            areas=self.areas.copy(),
            boxes=self.boxes.copy(),
            sizes=self.sizes.copy(),
            values_ok=self.values_ok.copy(),
            errors=[(k, text) for k, text in self.errors if k not in arrays],
        )
        for k, mask in drawn.items():
            made.areas[k], made.boxes[k], made.sizes[k] = mask.areas[0], mask.boxes[0], mask.size
            made.values_ok[k] = bool(np.isin(arrays[k], (0, 255)).all())
        return made


def from_native(decoded: tuple[Any, ...], names: Sequence[str]) -> MaskBatch:
    """Make a MaskBatch from the compiled decoder's result for members of these names."""
    counts, areas, boxes, heights, widths, values_ok, alpha_ok, types, faults = decoded
    errors = [(i, f"{names[i]}: {text}") for i, text in faults]
    modes = [_MODES.get(divmod(number, 256), "") for number in types.tolist()]
    sizes = np.stack([heights, widths], axis=1)
    flags = values_ok.view(np.bool_), alpha_ok.view(np.bool_)
    return MaskBatch(RunLengths(*counts), areas, boxes, sizes, *flags, modes, errors)


class MaskReader(Protocol):
    """A container of mask images that decodes several members at once."""

    def masks(self, names: Sequence[str], workers: int) -> MaskBatch: ...


def gather(members: Sequence[tuple[MaskReader, str]], workers: int) -> MaskBatch:
    """Decode members of one or several containers, keeping their order."""
    containers = {id(c): c for c, _ in members}
    if not members:
        from celltable._native import codec

        return from_native(codec.masks_of_bytes([], 1, 0), [])
    if len(containers) == 1:
        return members[0][0].masks([name for _, name in members], workers)
    groups = {key: [i for i, (c, _) in enumerate(members) if id(c) == key] for key in containers}
    parts = [containers[key].masks([members[i][1] for i in where], workers) for key, where in groups.items()]
    order = np.argsort([i for where in groups.values() for i in where])
    return _joined(parts).take(order.tolist())


def _joined(parts: Sequence[MaskBatch]) -> MaskBatch:
    starts = np.cumsum([0, *(len(p) for p in parts)]).tolist()
    columns = [
        np.concatenate([getattr(p, name) for p in parts])
        for name in ("areas", "boxes", "sizes", "values_ok", "alpha_ok")
    ]
    errors = [(start + i, text) for start, p in zip(starts, parts, strict=False) for i, text in p.errors]
    counts, modes = RunLengths.joined([p.counts for p in parts]), [m for p in parts for m in p.modes]
    return MaskBatch(counts, columns[0], columns[1], columns[2], columns[3], columns[4], modes, errors)
