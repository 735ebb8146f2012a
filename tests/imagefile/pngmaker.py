"""PNGs written from the specification, byte by byte: the oracle of the decoder tests."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(rows: NDArray[np.uint8], filters: NDArray[np.integer], bpp: int = 1) -> bytes:
    """Apply the PNG row filters of the specification, independently of any library."""
    out = []
    before = np.zeros(rows.shape[1], int)
    for row, kind in zip(rows.astype(int), filters, strict=True):
        left = np.concatenate([np.zeros(bpp, int), row[:-bpp]]) if bpp < len(row) else np.zeros(len(row), int)
        corner = np.concatenate([np.zeros(bpp, int), before[:-bpp]]) if bpp < len(row) else np.zeros(len(row), int)
        p = left + before - corner
        a, b, c = abs(p - left), abs(p - before), abs(p - corner)
        paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, before, corner))
        guess = [0 * left, left, before, (left + before) // 2, paeth][int(kind)]
        out.append(bytes([int(kind)]) + ((row - guess) % 256).astype(np.uint8).tobytes())
        before = row
    return b"".join(out)


def png(size: tuple[int, ...], raw: bytes, depth: int = 8, colour: int = 0, level: int = 6, parts: int = 1) -> bytes:
    """Wrap filtered rows as a PNG of (height, width)."""
    height, width = size
    stream = zlib.compress(raw, level)
    step = -(-len(stream) // parts)
    idat = b"".join(chunk(b"IDAT", stream[i : i + step]) for i in range(0, len(stream), step))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + idat + chunk(b"IEND", b"")
