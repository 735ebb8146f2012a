"""Find truncated image files from their structure, without decoding them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from celltable.errors import ImageFileError

from . import bmp

TAIL_BYTES: Final = 1 << 10  # the end marker is searched here first, then in the whole file
BITMAP_HEADER_BYTES: Final = 256
PNG_END: Final = b"IEND\xaeB`\x82"
JPEG_END: Final = b"\xff\xd9"
END: Final = {"png": PNG_END, "jpeg": JPEG_END}
_SCAN: Final = 0xDA
_OFFSETS, _COUNTS = (273, 324), (279, 325)  # TIFF tags, of strips and of tiles
_WHOLE: Final = {3: "H", 4: "I", 13: "I", 16: "Q"}  # integer types of TIFF
_MAX_PAGES: Final = 1 << 16


def cut_short(data: bytes, image_format: str) -> str:
    """Say how a file is truncated; empty if it is complete. `image_format` is as returned by `format_of`.

    Examines PNG, JPEG, TIFF and plain bitmaps; other kinds count as complete.

    >>> cut_short(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(40), "png")
    'the PNG is cut short: 48 bytes without an end (IEND)'
    """
    if image_format == "png":
        return "" if _png_ends(data) else f"the PNG is cut short: {len(data):,} bytes without an end (IEND)"
    if image_format == "jpeg":
        return "" if _jpeg_ends(data) else f"the JPEG is cut short: {len(data):,} bytes without an end (EOI)"
    if image_format in ("bmp", "dib"):
        return bitmap_cut_short(data, len(data))
    if image_format == "tiff":
        needed = _tiff_needs(data)
        return f"the TIFF is cut short: {len(data):,} bytes, it needs {needed:,}" if needed > len(data) else ""
    return ""


def bitmap_cut_short(head: bytes, size: int) -> str:
    """Like `cut_short`, for a bitmap of `size` bytes, by its header."""
    try:
        bitmap = bmp.header(head, "")
    except ImageFileError:
        return ""
    needed = bitmap.rows + (bitmap.width * bitmap.bits + 31) // 32 * 4 * bitmap.height
    if bitmap.compression or size >= needed:
        return ""
    return f"the bitmap is cut short: {size:,} bytes, it needs {needed:,}"


def _png_ends(data: bytes) -> bool:
    """Whether the chunks reach the final one; bytes after it do not count."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + length
    return False


def _jpeg_ends(data: bytes) -> bool:
    """Whether an end marker follows the start of the scan; those of thumbnails come before it."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _SCAN:
            return JPEG_END in data[at:]
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a TIFF stores numbers: byte order, and field sizes of classic TIFF or BigTIFF."""

    order: str
    big: bool

    def number(self, data: bytes, at: int, code: str) -> int:
        if at > len(data):
            raise struct.error("the number is beyond the end")
        return int(struct.unpack_from(self.order + code, data, at)[0])

    @property
    def pointer(self) -> str:
        return "Q" if self.big else "I"


def _tiff_needs(data: bytes) -> int:
    """Return the file size that a TIFF needs for all its pages, as far as it can be read."""
    layout = _Layout("<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+"))
    needed, at, seen = 0, 0, set[int]()
    try:
        at = layout.number(data, 8 if layout.big else 4, layout.pointer)
        while at and at not in seen and len(seen) < _MAX_PAGES:
            seen.add(at)
            end, at = _page_needs(data, at, layout)
            needed = max(needed, end)
    except struct.error:  # a page, or a list of its strips, is beyond the end
        return max(needed, at, len(data) + 1)
    return needed


def _page_needs(data: bytes, at: int, layout: _Layout) -> tuple[int, int]:
    """Return where the strips or tiles of a page end, and the offset of the next page."""
    count_size, entry_size, value_at = (8, 20, 12) if layout.big else (2, 12, 8)
    entries = layout.number(data, at, "Q" if layout.big else "H")
    after = at + count_size + entries * entry_size
    following = layout.number(data, after, layout.pointer)
    tags: dict[int, NDArray[np.float64]] = {}
    for k in range(entries):
        place = at + count_size + k * entry_size
        tag, number_type = layout.number(data, place, "H"), layout.number(data, place + 2, "H")
        if tag in (*_OFFSETS, *_COUNTS) and number_type in _WHOLE:
            n = layout.number(data, place + 4, layout.pointer)
            tags[tag] = _values(data, place + value_at, n, _WHOLE[number_type], layout)
    ends = [0]
    for offsets, counts in zip(_OFFSETS, _COUNTS, strict=True):
        if offsets in tags and counts in tags and len(tags[offsets]) == len(tags[counts]):
            ends.append(int((tags[offsets] + tags[counts]).max(initial=0)))
    return max(ends), following


def _values(data: bytes, at: int, n: int, code: str, layout: _Layout) -> NDArray[np.float64]:
    size = struct.calcsize(f"={code}")
    if n * size > (8 if layout.big else 4):
        at = layout.number(data, at, layout.pointer)
    if at + n * size > len(data):
        raise struct.error("the list is beyond the end")
    return np.frombuffer(data, np.dtype(f"{layout.order}u{size}"), n, at).astype(np.float64)
