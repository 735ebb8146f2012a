"""Read the layers of a GIMP XCF file of version 0: RGB and grey, with raw, run-length coded or zlib tiles.

The layout follows GIMP's own description (devel-docs/xcf.txt): all integers are unsigned 32-bit big-endian, pointers
are absolute file offsets. Every offset and size is checked; nothing is trusted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.errors import ImageFileError

TILE: Final = 64
MAX_PIXELS: Final = 1 << 26
_CHANNELS: Final = {0: 3, 1: 4, 2: 1, 3: 2}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its name, upper left corner (x, y) in the image, and pixels uint8 (row, column, channel)."""

    name: str
    offset_xy: tuple[int, int]
    pixels: NDArray[np.uint8]


def read_layers(data: bytes, name: str, only: Sequence[str] = ()) -> tuple[tuple[int, int], list[Layer]]:
    """Read the image size (height, width) and the layers, topmost first; `only` names the layers to decode.

    Raises
    ------
    ImageFileError
        If the file is damaged or not an XCF of version 0.
    """
    try:
        return _Reader(data).layers(only)
    except (struct.error, IndexError, ValueError, zlib.error) as exc:
        raise ImageFileError(f"{name} is not a complete XCF file of version 0: {exc}") from exc


class _Reader:
    def __init__(self, data: bytes) -> None:
        if data[:9] != b"gimp xcf " or data[9:14] != b"file\0":
            raise ValueError(f"it begins with {data[:14]!r}, expected 'gimp xcf file'")
        self.data = data

    def u32(self, at: int, n: int = 1) -> tuple[int, ...]:
        if at < 0 or at + 4 * n > len(self.data):
            raise ValueError(f"the offset {at} is outside the file")
        return struct.unpack_from(f">{n}I", self.data, at)

    def pointers(self, at: int) -> tuple[list[int], int]:
        """Read pointers up to a 0; return them and the offset after it."""
        pointers = []
        while (pointer := self.u32(at)[0]) != 0:
            pointers.append(pointer)
            at += 4
            if len(pointers) > 1 << 20:
                raise ValueError("a list of pointers does not end")
        return pointers, at + 4

    def properties(self, at: int) -> tuple[dict[int, bytes], int]:
        properties: dict[int, bytes] = {}
        while True:
            property_type, length = self.u32(at, 2)
            at += 8
            if property_type == 0:
                return properties, at
            if at + length > len(self.data):
                raise ValueError("a property reaches past the end")
            properties[property_type] = self.data[at : at + length]
            at += length

    def layers(self, only: Sequence[str]) -> tuple[tuple[int, int], list[Layer]]:
        width, height, _ = self.u32(14, 3)
        properties, at = self.properties(26)
        compression = properties.get(17, b"\0")[0]
        pointers, _ = self.pointers(at)
        layers = (self.layer(p, compression, only) for p in pointers)
        return (height, width), [layer for layer in layers if layer is not None]

    def layer(self, at: int, compression: int, only: Sequence[str]) -> Layer | None:
        width, height, layer_type, length = self.u32(at, 4)
        if layer_type not in _CHANNELS or width * height > MAX_PIXELS:
            raise ValueError(f"a layer of type {layer_type} and {width} × {height} px")
        name = self.data[at + 16 : at + 16 + length].rstrip(b"\0").decode("utf-8", "replace")
        if only and name.lower() not in only:
            return None
        properties, at = self.properties(at + 16 + length)
        x, y = struct.unpack(">2i", properties[15]) if len(properties.get(15, b"")) == 8 else (0, 0)
        hierarchy = self.u32(at)[0]
        return Layer(name, (x, y), self.hierarchy(hierarchy, width, height, _CHANNELS[layer_type], compression))

    def hierarchy(self, at: int, width: int, height: int, channels: int, compression: int) -> NDArray[np.uint8]:
        w, h, depth, level = self.u32(at, 4)
        if (w, h, depth) != (width, height, channels):
            raise ValueError(
                f"a hierarchy of {w} × {h} px and {depth} bytes in a layer of {width} × {height} and {channels}"
            )
        if self.u32(level, 2) != (width, height):
            raise ValueError("the first level differs from its layer in size")
        tiles, _ = self.pointers(level + 8)
        across, down = -(-width // TILE), -(-height // TILE)
        if len(tiles) != across * down:
            raise ValueError(f"{len(tiles)} tiles, expected {across * down}")
        out = np.zeros((height, width, channels), np.uint8)
        ends = [*tiles[1:], len(self.data)]
        for k, (start, end) in enumerate(zip(tiles, ends, strict=True)):
            row, col = (k // across) * TILE, (k % across) * TILE
            target = out[row : row + TILE, col : col + TILE]
            target[...] = self.tile(start, end, target.shape, compression)
        return out

    def tile(self, start: int, end: int, shape: tuple[int, ...], compression: int) -> NDArray[np.uint8]:
        height, width, channels = shape
        n = height * width
        if compression == 1:
            planes = unpack(memoryview(self.data)[start:], n, channels)
            return np.moveaxis(planes.reshape(channels, height, width), 0, -1)
        if compression == 0:
            raw = self.data[start : start + n * channels]
        elif compression == 2:
            raw = zlib.decompressobj().decompress(self.data[start : end if end > start else None], n * channels + 1)
        else:
            raise ValueError(f"compression {compression} is unknown")
        if len(raw) != n * channels:
            raise ValueError(f"a tile holds {len(raw)} bytes, expected {n * channels}")
        return np.frombuffer(raw, np.uint8).reshape(height, width, channels)


def unpack(data: Any, n: int, channels: int) -> NDArray[np.uint8]:
    """Decode a run-length coded tile: `channels` planes of `n` bytes, one after the other.

    >>> unpack(bytes([2, 9, 254, 1, 2]), 5, 1).tolist()
    [9, 9, 9, 1, 2]
    """
    out = np.empty(n * channels, np.uint8)
    at = 0
    for plane in range(channels):
        position, end = plane * n, (plane + 1) * n
        while position < end:
            code = data[at]
            at += 1
            if code in (127, 128):
                count, at = data[at] << 8 | data[at + 1], at + 2
            else:
                count = code + 1 if code < 127 else 256 - code
            if position + count > end:
                raise ValueError("a tile holds more than its pixels")
            if code <= 127:
                out[position : position + count] = data[at]
                at += 1
            else:
                out[position : position + count] = np.frombuffer(data[at : at + count], np.uint8)
                at += count
            position += count
    return out


def pack(name: str, layers: list[Layer], size: tuple[int, int]) -> bytes:
    """Encode layers as an XCF file of version 0 with run-length coded tiles; `name` is the file's comment."""
    height, width = size
    head = b"gimp xcf file\0" + struct.pack(">3I", width, height, 0)
    comment = name.encode() + b"\0"
    head += struct.pack(">2IB", 17, 1, 1) + struct.pack(">2I", 20, len(comment)) + comment + struct.pack(">2I", 0, 0)
    body = bytearray()
    start = len(head) + 4 * (len(layers) + 2)
    pointers = []
    for layer in layers:
        pointers.append(start + len(body))
        body += _packed_layer(layer, start + len(body))
    return head + struct.pack(f">{len(pointers) + 2}I", *pointers, 0, 0) + bytes(body)


def _packed_layer(layer: Layer, at: int) -> bytes:
    height, width, channels = layer.pixels.shape
    kind = next(k for k, c in _CHANNELS.items() if c == channels)
    text = layer.name.encode() + b"\0"
    head = struct.pack(">4I", width, height, kind, len(text)) + text
    head += struct.pack(">2I2i", 15, 8, *layer.offset_xy) + struct.pack(">2I", 0, 0)
    hierarchy = at + len(head) + 8
    level = hierarchy + 20
    tiles = [
        _packed_tile(layer.pixels[r : r + TILE, c : c + TILE])
        for r in range(0, height, TILE)
        for c in range(0, width, TILE)
    ]
    first = level + 8 + 4 * (len(tiles) + 1)
    offsets = np.cumsum([first, *(len(t) for t in tiles[:-1])]).tolist()
    middle = struct.pack(">2I", hierarchy, 0) + struct.pack(">5I", width, height, channels, level, 0)
    return head + middle + struct.pack(f">2I{len(tiles) + 1}I", width, height, *offsets, 0) + b"".join(tiles)


def _packed_tile(tile: NDArray[np.uint8]) -> bytes:
    out = bytearray()
    for plane in np.moveaxis(tile, -1, 0):
        flat = plane.ravel()
        edges = np.flatnonzero(np.r_[True, np.diff(flat) != 0])
        for start, end in zip(edges.tolist(), [*edges[1:].tolist(), flat.size], strict=True):
            out += struct.pack(">BHB", 127, end - start, int(flat[start]))
    return bytes(out)
