"""What a generated image comes with: its pixels and the exact truth about every cell in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # float32 throughout
Labels = NDArray[np.int32]
Bools = NDArray[np.bool_]
Size = tuple[int, int]


class Mask(NamedTuple):
    """One cell's exact mask as a crop: `crop` covers rows ``row:row + h`` and columns ``col:col + w`` of the image."""

    row: int
    col: int
    crop: Bools

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.crop))

    @property
    def box(self) -> tuple[slice, slice]:
        """Slices of the crop in the image, ready to index with."""
        height, width = self.crop.shape
        return slice(self.row, self.row + height), slice(self.col, self.col + width)

    def full(self, size: Size) -> Bools:
        """The mask in an image of `size` (rows, columns)."""
        image = np.zeros(size, bool)
        image[self.box] = self.crop
        return image


@dataclass(frozen=True, slots=True)
class Scene:
    """A generated image and what is truly in it.

    Attributes
    ----------
    pixels
        (rows, columns) or (rows, columns, channels), uint8 or uint16. 16-bit pixels hold the 12 bits of a camera,
        0-4095, as microscopes write them.
    channel_names
        One name per channel: ``grey``, ``red green blue``, or ``red green blue yellow``.
    masks
        The exact mask of cell 1, 2, … as crops with their tight boxes. They overlap only where `overlap` was asked for.
    label_map
        (rows, columns) int32, 0 = background, k = cell k. Where masks overlap, the cell whose centre is nearer.
    nuclei, nuclei_label_map
        The nuclei of cells under the same ids, for looks that picture both; otherwise empty and None.
    classes
        The (first) class of cell 1, 2, ….
    class_sets
        All classes of cell 1, 2, …; longer than one only for protein locations.
    labels
        Image-level labels: every class that some cell shows, most cells first.
    look, variant, modality, pixel_size_um, seed
        What was asked for, and how it would be described: modality is that of the images table.
    """

    pixels: NDArray[Any]
    channel_names: tuple[str, ...]
    masks: tuple[Mask, ...]
    label_map: Labels
    nuclei: tuple[Mask, ...]
    nuclei_label_map: Labels | None
    classes: tuple[str, ...]
    class_sets: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    look: str
    variant: str
    modality: str
    pixel_size_um: float
    seed: int

    @property
    def size(self) -> Size:
        """Rows and columns."""
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])


@dataclass(frozen=True, slots=True)
class Request:
    """What a look is asked to draw; made by `generate`, which has checked it."""

    size: Size
    cells: int
    overlap: bool
    noise: float
    blur: float
    touching: float
    variant: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a look hands back: pixels in 0-1 before the camera, cells, and their truth."""

    image: Floats  # (rows, columns) or (rows, columns, channels), 0 = black, 1 = full well
    masks: tuple[Mask, ...]
    label_map: Labels
    class_sets: tuple[tuple[str, ...], ...]
    full_well: float  # photo-electrons at 1.0: the smaller, the noisier
    read_noise: float  # electrons
    nuclei: tuple[Mask, ...] = ()
    nuclei_label_map: Labels | None = None
