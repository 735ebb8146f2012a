"""Writing example releases: archives and folders whose bytes depend on their contents alone."""

from __future__ import annotations

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
