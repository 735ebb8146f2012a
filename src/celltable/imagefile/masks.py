"""One-object mask images in bulk: many PNGs in, compressed COCO run lengths, areas and boxes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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
    """Masks of n files, in the order asked for.

    Foreground is every pixel with a colour sample above zero; an alpha channel does not count.

    Attributes
    ----------
    counts
        Compressed COCO run lengths (column-major) of the full image; ``b""`` where the file could not be read.
    areas
        int64 (n,), foreground pixels.
    boxes
        int32 (n, 4): x, y, width, height of the tight box; zeros for an empty mask.
    heights, widths
        int32 (n,); zero where the header could not be read.
    values_ok
        bool (n,): no sample other than 0 and the largest value of the bit depth (255).
    alpha_ok
        bool (n,): no alpha channel, or a constant one.
    modes
        Colour type of each file as Pillow names it (``"L"``, ``"RGBA"``, ``"I;16"``, …); ``""`` where unknown.
    errors
        (position, message) of each file that could not be read.
    """

    counts: list[bytes]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int32]
    heights: NDArray[np.int32]
    widths: NDArray[np.int32]
    values_ok: NDArray[np.bool_]
    alpha_ok: NDArray[np.bool_]
    modes: list[str]
    errors: list[tuple[int, str]]

    def __len__(self) -> int:
        return len(self.counts)


def from_native(found: tuple[Any, ...], names: Sequence[str]) -> MaskBatch:
    """A MaskBatch of what the compiled decoder returns for members of those names."""
    counts, areas, boxes, heights, widths, values_ok, alpha_ok, kinds, faults = found
    errors = [(i, f"{names[i]}: {text}") for i, text in faults]
    modes = [_MODES.get(divmod(kind, 256), "") for kind in kinds.tolist()]
    return MaskBatch(
        counts, areas, boxes, heights, widths, values_ok.view(np.bool_), alpha_ok.view(np.bool_), modes, errors
    )


class MaskReader(Protocol):
    """A container of mask images that decodes several members at once."""

    def masks(self, names: Sequence[str], workers: int) -> MaskBatch: ...


def gather(members: Sequence[tuple[MaskReader, str]], workers: int) -> MaskBatch:
    """Decode members of one or several containers; the order is kept."""
    containers = {id(c): c for c, _ in members}
    if not members:
        from celltable._native import codec

        return from_native(codec.masks_of_bytes([], 1, 0), [])
    if len(containers) == 1:
        return members[0][0].masks([name for _, name in members], workers)
    groups = {key: [i for i, (c, _) in enumerate(members) if id(c) == key] for key in containers}
    parts = [containers[key].masks([members[i][1] for i in where], workers) for key, where in groups.items()]
    return _interleaved(parts, [i for where in groups.values() for i in where])


def _interleaved(parts: list[MaskBatch], where: list[int]) -> MaskBatch:
    order = np.argsort(np.asarray(where, np.int64))
    ends = np.cumsum([0, *(len(p) for p in parts)])
    errors = [(where[int(ends[k]) + i], text) for k, p in enumerate(parts) for i, text in p.errors]
    counts = [c for p in parts for c in p.counts]
    modes = [m for p in parts for m in p.modes]

    def column(name: str, empty: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([empty, *(getattr(p, name) for p in parts)])[order]

    return MaskBatch(
        [counts[i] for i in order],
        column("areas", np.zeros(0, np.int64)),
        column("boxes", np.zeros((0, 4), np.int32)),
        column("heights", np.zeros(0, np.int32)),
        column("widths", np.zeros(0, np.int32)),
        column("values_ok", np.zeros(0, np.bool_)),
        column("alpha_ok", np.zeros(0, np.bool_)),
        [modes[i] for i in order],
        sorted(errors),
    )
