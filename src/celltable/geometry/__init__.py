"""Pure functions on arrays: run lengths, polygons, label maps, outlines, overlaps, shapes, looks and fingerprints.

A mask is its *compressed COCO counts* as bytes, its size (height, width) given beside. Nothing is imported until used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = ("fingerprint", "label_map", "look", "outline", "overlap", "polygon", "rle", "shapes")
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
