"""PanNuke's classes, as channels of its arrays and as colours of the ImageMask sets made from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Instances
from celltable.errors import InputError
from celltable.geometry import label_map
from celltable.geometry.masks import Masks, from_label_map

CLASS_NAMES: Final = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")  # channels 0 to 4
BACKGROUND: Final = 5  # index of the channel; the official README says 6
Colour = tuple[int, int, int]
_V1: Final = ((0, 255, 0), (0, 0, 255), (255, 0, 0), (0, 255, 255), (255, 255, 0))
_V2: Final = ((0, 255, 0), (0, 0, 255), (255, 0, 0), (0, 255, 255))  # without Neoplastic
PALETTES: Final[Mapping[str, Mapping[str, Colour]]] = {
    "v1": dict(zip(CLASS_NAMES, _V1, strict=True)),
    "v2": dict(zip(CLASS_NAMES[1:], _V2, strict=True)),
    "binary": {"*": (255, 255, 255)},
}
FIRST: Final = 10001  # number of the first file of the published sets


def cells_of_channels(layers: label_map.Layers, annotator: str | None = None) -> Instances:
    """Make a nucleus per value of each class channel, in this order; its source id is ``channel:value``.

    >>> cells = cells_of_channels(label_map.layers([[[0, 7, 0, 0, 0, 0], [2, 7, 0, 0, 0, 0]]], 5))
    >>> cells.source_id, cells.class_name
    (['0:2', '1:7'], ['Neoplastic', 'Inflammatory'])
    """
    channels = layers.layer.tolist()
    return Instances(
        Masks.concat([from_label_map(m).masks for m in layers.maps]),
        class_name=[CLASS_NAMES[c] for c in channels],
        source_id=[f"{c}:{v}" for c, v in zip(channels, layers.value.tolist(), strict=True)],
        annotator=annotator,
    )


def palette_of(text: str) -> Mapping[str, Colour]:
    """Look up a palette by name, or parse one.

    >>> palette_of("Dead=#FF0000,*=#0000FF")
    {'Dead': (255, 0, 0), '*': (0, 0, 255)}
    """
    if text in PALETTES:
        return PALETTES[text]
    found: dict[str, Colour] = {}
    for part in text.split(","):
        hit = re.fullmatch(r"\s*(.+?)\s*=\s*#([0-9a-fA-F]{6})\s*", part)
        if hit is None:
            names = ", ".join(PALETTES)
            raise InputError(f"the palette '{part}' is neither one of {names} nor of the form Class=#RRGGBB,…")
        number = int(hit[2], 16)
        found[hit[1]] = (number >> 16, number >> 8 & 255, number & 255)
    colours = list(found.values())
    if len(set(colours)) < len(colours) or (0, 0, 0) in colours:
        raise InputError("two classes of the palette share a colour, or one is black, which means background")
    return found


def classify(mask: NDArray[Any], colours: Sequence[Colour], tolerance: int = 0) -> tuple[NDArray[np.uint8], int]:
    """Classify each pixel (0 background, 1 the first colour, …), and count the pixels without a colour of the palette.

    >>> classify(np.array([[[0, 255, 0], [0, 250, 4], [0, 128, 0]]], np.uint8), [(0, 255, 0)], 8)
    (array([[1, 1, 0]], dtype=uint8), 1)
    """
    values = np.ascontiguousarray(np.moveaxis(mask, -1, 0)).astype(np.int16)  # one plane per channel: quicker to reduce
    black = np.abs(values).max(axis=0)
    best, nearest = np.zeros(mask.shape[:2], np.uint8), black.copy()
    for k, colour in enumerate(colours, 1):
        distance = np.abs(values - np.array(colour, np.int16)[:, None, None]).max(axis=0)
        closer = distance < nearest
        best[closer], nearest[closer] = k, distance[closer]
    far = nearest > tolerance
    best[far] = 0
    return best, int(np.count_nonzero(far))
