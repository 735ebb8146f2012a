"""Writing example releases: archives and folders whose bytes depend on their contents alone."""

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
    """A zip of these members, in their order, without dates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return path


def write_files(root: Path, files: Mapping[str, bytes]) -> Path:
    """These files below a folder."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def bitmap(pixels: NDArray[np.uint8], *, header: bool = True) -> bytes:
    """A 24-bit Windows bitmap of RGB pixels (row, column, 3), bottom row first; without the 14 bytes of its file header
    where `header` is false, as some instruments write them (.DIB)."""
    height, width = pixels.shape[:2]
    stride = -(-width * 3 // 4) * 4
    rows: NDArray[Any] = np.zeros((height, stride), np.uint8)
    rows[:, : width * 3] = pixels[::-1, :, ::-1].reshape(height, -1)
    data = rows.tobytes()
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(data), 2835, 2835, 0, 0)
    start = struct.pack("<2sIHHI", b"BM", 54 + len(data), 0, 0, 54) if header else b""
    return start + info + data


def guid(*parts: int) -> str:
    """A GUID in lower case that depends on these numbers alone."""
    digits = hashlib.sha256(repr(parts).encode()).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def litter_files() -> dict[str, bytes]:
    """What operating systems leave behind."""
    return {"__MACOSX/._a": b"\0", ".DS_Store": b"\0", "Thumbs.db": b"\0"}


def outer_line(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """A closed line of one pixel just inside each cell, so that what it encloses is the cell without its rim."""
    line = np.zeros(labels.shape, bool)
    padded = np.pad(labels, 1)
    for dy in range(3):
        for dx in range(3):
            line |= padded[dy : dy + labels.shape[0], dx : dx + labels.shape[1]] != labels
    return line & (labels > 0)


def recoloured(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Few values 1, 2, … of which touching cells have different ones, as greedy colouring in label order finds them."""
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
    found: NDArray[np.uint8] = table[labels]
    return found


def nested(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(nuclei, cells) with the same labels: the nucleus is the cell without its two outer rims."""
    nuclei = np.where(outer_line(labels), 0, labels)
    return np.where(outer_line(nuclei), 0, nuclei), labels


def eight_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of 8 bits as they are, those of a camera of 12 bits without their four lowest."""
    return pixels if pixels.dtype == np.uint8 else (pixels >> 4).astype(np.uint8)


def twelve_bits(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    """Grey pixels as a camera of 12 bits stores them in 16."""
    return pixels.astype(np.uint16) * np.uint16(16 if pixels.dtype == np.uint8 else 1)
