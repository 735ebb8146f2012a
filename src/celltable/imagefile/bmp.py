"""Read Windows bitmaps with a file header (.bmp) or without (.dib, as written by the Cellomics ArrayScan)."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.errors import ImageFileError

_HEADERS = (40, 52, 56, 64, 108, 124)
_DEPTHS = (1, 4, 8, 16, 24, 32)


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A bitmap's header: size in px, bits per pixel, offsets of palette and rows, whether row 0 is the lowest."""

    height: int
    width: int
    bits: int
    compression: int
    palette: int
    colours: int
    rows: int
    bottom_up: bool
    alpha: bool

    def grey(self, data: bytes) -> bool:
        """Whether the pixels are grey levels, that is, the palette is a ramp from black to white."""
        if self.bits != 8:
            return False
        table = np.frombuffer(data[self.palette : self.palette + 4 * self.colours], np.uint8)
        ramp = np.arange(self.colours, dtype=np.uint8)
        return table.size == 4 * self.colours and bool((table.reshape(-1, 4)[:, :3] == ramp[:, None]).all())

    def channels(self, data: bytes) -> int:
        """1 for grey, 4 with an alpha mask, else 3."""
        return 1 if self.grey(data) else 4 if self.alpha else 3


def is_bare(data: bytes) -> bool:
    """Whether the bytes begin with an information header instead of a file header."""
    if len(data) < 40:
        return False
    size, width, height, planes, bits, compression = struct.unpack("<IiiHHI", data[:20])
    return size in _HEADERS and planes == 1 and bits in _DEPTHS and width > 0 and height != 0 and compression < 7


def header(data: bytes, name: str) -> Bitmap:
    """Parse the header.

    Raises
    ------
    ImageFileError
        If it is cut short or not valid.
    """
    at = 14 if data.startswith(b"BM") else 0
    if not is_bare(data[at : at + 124]):
        raise ImageFileError(f"{name}: the bitmap is cut short or damaged within its header.")
    size, width, height, _, bits, compression, _, _, _, used = struct.unpack("<IiiHHIIiiI", data[at : at + 36])
    masks = 12 if compression == 3 and size == 40 else 0
    palette = at + size + masks
    colours = (min(used, 256) or 1 << bits) if bits <= 8 else 0
    rows = struct.unpack("<I", data[10:14])[0] if at else palette + 4 * colours
    has_alpha = size >= 56 and bits == 32 and len(data) >= at + 56 and any(data[at + 52 : at + 56])
    return Bitmap(abs(height), width, bits, compression, palette, colours, rows, height > 0, has_alpha)


def decoded(data: bytes, bitmap: Bitmap, name: str) -> NDArray[Any]:
    """Decode the pixels: (row, column) uint8 if the palette is a grey ramp, else (row, column, 3 or 4)."""
    if bitmap.compression != 0 or bitmap.bits == 16:
        return _by_pillow(data, name)
    stride = (bitmap.width * bitmap.bits + 31) // 32 * 4
    if bitmap.rows + stride * bitmap.height > len(data):
        raise ImageFileError(
            f"{name}: the bitmap is cut short: {len(data):,} bytes, it needs {bitmap.rows + stride * bitmap.height:,}."
        )
    rows = np.frombuffer(data, np.uint8, stride * bitmap.height, bitmap.rows).reshape(bitmap.height, stride)
    rows = rows[::-1] if bitmap.bottom_up else rows
    if bitmap.bits >= 24:
        bgr = rows[:, : bitmap.width * bitmap.bits // 8].reshape(bitmap.height, bitmap.width, -1)
        order = [2, 1, 0, 3] if bitmap.alpha else [2, 1, 0]
        return np.ascontiguousarray(bgr[:, :, order])
    index = _indices(rows, bitmap.bits)[:, : bitmap.width]
    if bitmap.grey(data):
        return np.ascontiguousarray(index)
    table = np.zeros((256, 4), np.uint8)
    stored = np.frombuffer(data[bitmap.palette : bitmap.palette + 4 * bitmap.colours], np.uint8)
    table[: stored.size // 4] = stored[: stored.size // 4 * 4].reshape(-1, 4)
    return np.ascontiguousarray(table[index][:, :, [2, 1, 0]])


def _indices(rows: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return rows
    if bits == 4:
        return np.stack([rows >> 4, rows & 15], axis=-1).reshape(len(rows), -1)
    return np.unpackbits(rows, axis=1)


def _by_pillow(data: bytes, name: str) -> NDArray[Any]:
    """Decode run-length coded and 16-bit bitmaps, which are too rare for code of our own."""
    from PIL.BmpImagePlugin import BmpImageFile, DibImageFile

    opener = BmpImageFile if data.startswith(b"BM") else DibImageFile
    try:
        with opener(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB") if image.mode not in ("L", "RGB", "RGBA") else image)
    except (OSError, SyntaxError, ValueError, struct.error) as exc:
        raise ImageFileError(f"{name}: the bitmap is damaged or cut short ({exc}).") from exc
