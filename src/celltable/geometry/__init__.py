"""Pure functions on arrays: masks, polygons, label maps, outlines, overlaps, shapes, image looks and fingerprints.

One mask is its *compressed COCO counts* as bytes, with the size (height, width) beside it; the masks of one image are a
`masks.Masks`. Nothing is imported until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = ("fingerprint", "label_map", "look", "masks", "outline", "overlap", "polygon", "rle", "shapes")
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
