"""Image files out: the smallest lossless encoding that common tools open, chosen by pixel type."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.errors import InputError

PNG_LEVEL = 4  # zlib level: beyond it time doubles for a few per cent of size


def encode_png(pixels: NDArray[Any], level: int = PNG_LEVEL) -> bytes:
    """PNG bytes of an 8- or 16-bit array (row, column) or (row, column, 1 to 4 channels)."""
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=level))


def as_integers(pixels: NDArray[Any]) -> NDArray[Any]:
    """Floating-point pixels that are whole numbers of 8 or 16 bits, as PanNuke publishes them, in the type they need.

    The values are the same; image libraries and viewers without support for floating-point colour open the file.

    >>> as_integers(np.array([[0.0, 255.0]])).dtype, as_integers(np.array([[0.5, 255.0]])).dtype
    (dtype('uint8'), dtype('float64'))
    """
    if pixels.dtype.kind != "f" or not pixels.size:
        return pixels
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 65535):  # not a number is neither
        return pixels
    whole = pixels.astype(np.uint8 if high <= 255 else np.uint16)
    return whole if np.array_equal(whole, pixels) else pixels


def encode_mask(mask: NDArray[Any]) -> bytes:
    """PNG bytes of an 8-bit mask; filters are off, which costs a nearly empty picture most of its time."""
    import imagecodecs

    how = {"filter": imagecodecs.PNG.FILTER.NONE, "strategy": imagecodecs.PNG.STRATEGY.RLE}
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(mask), level=1, **how))


def encode_tiff(pixels: NDArray[Any], compression: str | None = "zlib") -> bytes:
    """TIFF bytes of an array (row, column[, channel]); no date, no description: the same pixels give the same bytes."""
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
    """The bytes of an image file and its ending: PNG where PNG can hold the pixels, TIFF otherwise."""
    pixels = as_integers(pixels)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] <= 4)
    if fits and pixels.dtype in (np.uint8, np.uint16):
        return encode_png(pixels), ".png"
    return encode_tiff(pixels), ".tif"


def write_bytes(path: Path, data: bytes) -> int:
    """Write a file, making its folder if needed; return its size."""
    try:
        path.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return len(data)
