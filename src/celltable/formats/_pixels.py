"""Write image files in the smallest lossless encoding that common tools open, chosen by pixel type."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.errors import InputError

PNG_LEVEL = 4  # zlib level; higher levels double the time to save a few per cent


def encode_png(pixels: NDArray[Any], level: int = PNG_LEVEL) -> bytes:
    """Encode an 8- or 16-bit array (row, column) or (row, column, 1 to 4 channels) as PNG."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=level))


def as_integers(pixels: NDArray[Any]) -> NDArray[Any]:
    """Convert floating-point pixels that hold 8- or 16-bit integers, as in PanNuke, to the narrowest integer type.

    The values do not change; image libraries and viewers without support for floating-point colour can open the file.

    >>> as_integers(np.array([[0.0, 255.0]])).dtype, as_integers(np.array([[0.5, 255.0]])).dtype
    (dtype('uint8'), dtype('float64'))
    """
    if pixels.dtype.kind != "f" or not pixels.size:
        return pixels
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 65535):  # false for NaN
        return pixels
    whole = pixels.astype(np.uint8 if high <= 255 else np.uint16)
    return whole if np.array_equal(whole, pixels) else pixels


def encode_mask(mask: NDArray[Any]) -> bytes:
    """Encode an 8-bit mask as PNG without filters, which would take most of the time for nearly empty pictures."""
    import imagecodecs

    how = {"filter": imagecodecs.PNG.FILTER.NONE, "strategy": imagecodecs.PNG.STRATEGY.RLE}
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(mask), level=1, **how))


def encode_tiff(pixels: NDArray[Any], compression: str | None = "zlib") -> bytes:
    """Encode an array (row, column[, channel]) as TIFF, without date or description, so that bytes are reproducible."""
    import tifffile

    pixels, stream = as_integers(pixels), io.BytesIO()
    colour = pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.dtype in (np.uint8, np.uint16)
    extra: dict[str, Any] = {"photometric": "rgb" if colour else "minisblack"}
    if pixels.ndim == 3 and not colour:
        extra["planarconfig"] = "contig"
    name = None if compression in (None, "none") else compression
    try:
        tifffile.imwrite(stream, np.ascontiguousarray(pixels), compression=name, metadata=None, **extra)
    except (ValueError, KeyError) as exc:
        raise InputError(f"TIFF compression '{compression}' cannot be written: {exc}") from exc
    return stream.getvalue()


def encode(pixels: NDArray[Any]) -> tuple[bytes, str]:
    """Encode pixels as an image file and return its bytes and extension: PNG if it can hold them, else TIFF."""
    pixels = as_integers(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] <= 4)
    if fits and pixels.dtype in (np.uint8, np.uint16):
        return encode_png(pixels), ".png"
    return encode_tiff(pixels), ".tif"


def write_bytes(path: Path, data: bytes) -> int:
    """Write a file, creating its folder if needed, and return its size."""
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return len(data)
