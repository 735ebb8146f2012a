"""The image class of the COCO collection of nuclei sets: colours of nuclei and background, size, density."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.records import Sample

SATURATED: Final = 0.12  # chroma over the type's range above which a colour is no grey
BRIGHT: Final = 0.5
DENSE: Final = 0.2  # share of the image covered by nuclei


def nuclei_class(sample: Sample) -> str:
    """``<foreground>_<background>_<width>_<height>_<density>``, the image's own class where it has such a one.

    Colours are white, black, purple (stained tissue) or yellow by their mean; density is sparse or dense by the share
    of pixels in nuclei. The published collection spells it "sparce"; its classes are kept verbatim where an image
    carries one.
    """
    image, cells = sample.image, sample.instances
    size = f"{image.width}_{image.height}"
    if image.image_class and size in image.image_class:
        return image.image_class
    covered = np.asarray(cells.area).sum() / max(image.height * image.width, 1)
    density = "dense" if covered > DENSE else "sparse"
    if sample.load_pixels is None:
        return f"unknown_unknown_{size}_{density}"
    pixels = sample.pixels()
    inside = cells.label_map().label_map > 0
    front, back = (colour_name(pixels, m) for m in (inside, ~inside))
    return f"{front if inside.any() else back}_{back}_{size}_{density}"


def colour_name(pixels: NDArray[Any], mask: NDArray[np.bool_]) -> str:
    """The name of the mean colour of the pixels of a mask.

    >>> colour_name(np.full((2, 2, 3), (150, 60, 160), np.uint8), np.ones((2, 2), bool))
    'purple'
    >>> colour_name(np.full((2, 2), 20, np.uint8), np.ones((2, 2), bool))
    'black'
    """
    if not mask.any():
        return "black"
    if np.issubdtype(pixels.dtype, np.integer):
        top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.itemsize == 1 else max(float(pixels.max()), 1.0)
    else:
        top = max(float(pixels.max()), 1e-12)
    mean = pixels[mask].astype(np.float64).mean(axis=0) / top
    red, green, blue = np.broadcast_to(mean, 3) if np.ndim(mean) == 0 or len(mean) < 3 else mean[:3]
    if max(red, green, blue) - min(red, green, blue) > SATURATED:
        return "yellow" if blue < min(red, green) else "purple"
    return "white" if (red + green + blue) / 3 > BRIGHT else "black"
