"""Write example releases: archives and folders whose bytes depend only on their contents."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a zip of these members, in their order, with a fixed date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return path


def write_files(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def bitmap(pixels: NDArray[np.uint8], *, header: bool = True) -> bytes:
    """Encode RGB pixels (row, column, 3) as a 24-bit Windows bitmap, bottom row first.

    Without `header`, the 14 bytes of the file header are left out, as some instruments do (.DIB)."""
    height, width = pixels.shape[:2]
    stride = -(-width * 3 // 4) * 4
    rows: NDArray[Any] = np.zeros((height, stride), np.uint8)
    rows[:, : width * 3] = pixels[::-1, :, ::-1].reshape(height, -1)
    data = rows.tobytes()
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(data), 2835, 2835, 0, 0)
    start = struct.pack("<2sIHHI", b"BM", 54 + len(data), 0, 0, 54) if header else b""
    return start + info + data


def guid(*parts: int) -> str:
    """Derive a GUID in lower case from numbers."""
    digits = hashlib.sha256(repr(parts).encode()).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def litter_files() -> dict[str, bytes]:
    """Make the files that operating systems leave behind."""
    return {"__MACOSX/._a": b"\0", ".DS_Store": b"\0", "Thumbs.db": b"\0"}


def outer_line(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Draw a closed line of one pixel just inside each cell, which encloses the cell without its rim."""
    line = np.zeros(labels.shape, bool)
    padded = np.pad(labels, 1)
    for dy in range(3):
        for dx in range(3):
            line |= padded[dy : dy + labels.shape[0], dx : dx + labels.shape[1]] != labels
    return line & (labels > 0)


def recoloured(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Give touching cells different values from a small range (1, 2, …), by greedy colouring in label order."""
    padded = np.pad(labels, 1)
    near: dict[int, set[int]] = {i: set() for i in np.unique(labels).tolist() if i}
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shifted = np.roll(padded, (dy, dx), (0, 1))
        touch = (padded != shifted) & (padded > 0) & (shifted > 0)
        for a, b in set(zip(padded[touch].tolist(), shifted[touch].tolist(), strict=True)):
            near[a].add(b)
            near[b].add(a)
    colour: dict[int, int] = {0: 0}
    for i, others in near.items():
        used = {colour.get(o) for o in others}
        colour[i] = next(c for c in range(1, 256) if c not in used)
    table = np.array([colour.get(i, 0) for i in range(int(labels.max(initial=0)) + 1)], np.uint8)
    coloured: NDArray[np.uint8] = table[labels]
    return coloured


def nested(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (nuclei, cells) with the same labels: each nucleus is its cell without the two outer rims."""
    nuclei = np.where(outer_line(labels), 0, labels)
    return np.where(outer_line(nuclei), 0, nuclei), labels


def eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Keep 8-bit pixels; drop the four lowest bits of 12-bit ones."""
    return pixels if pixels.dtype == np.uint8 else (pixels >> 4).astype(np.uint8)


def twelve_bits(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    """Store grey pixels as a 12-bit camera does in 16 bits."""
    return pixels.astype(np.uint16) * np.uint16(16 if pixels.dtype == np.uint8 else 1)
