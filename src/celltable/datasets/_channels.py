"""One image from several channel files: its record from their headers, and which channel of a file holds the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Pixels
from celltable.errors import ArchiveError, ImageFileError
from celltable.imagefile import Entry, ImageInfo, Release

from ._read import located

Channel = tuple[str, Entry, int | None]  # role, file, channel of the file that holds the data


def image_of_channels(
    release: Release, image_id: str, channels: Sequence[Channel], findings: list[Finding], **details: Any
) -> Image:
    """An image whose channels are files of one size and type; a file that differs or cannot be read is left out."""
    where: list[Pixels] = []
    roles: list[str] = []
    first: ImageInfo | None = None
    for role, entry, channel in channels:
        try:
            info = release.image_info(entry)
        except (ArchiveError, ImageFileError) as exc:
            findings.append(Finding("unreadable-image", f"{role}: {exc}", "error", image_id))
            continue
        if first is not None and (info.height, info.width, info.dtype) != (first.height, first.width, first.dtype):
            text = (
                f"{entry.name} is {info.height} × {info.width} {info.dtype}, {roles[0]} {first.height} × {first.width} "
            )
            findings.append(Finding("size-mismatch", f"{text}{first.dtype}; left out", "error", image_id))
            continue
        first = first or info
        roles.append(role)
        where.append(located(entry, role=role, channel=channel if info.channels > 1 else None))
    size = (0, 0) if first is None else (first.height, first.width)
    dtype = None if first is None else first.dtype
    return Image(image_id, *size, pixels=tuple(where), channels=tuple(roles), dtype=dtype, **details)


def decoded(release: Release, role: str, entry: Entry, image_id: str, findings: list[Finding]) -> NDArray[Any] | None:
    """The pixels of a channel file, or None and a finding that says why there are none."""
    try:
        return release.read_pixels(entry)
    except (ArchiveError, ImageFileError) as exc:
        findings.append(Finding("unreadable-image", f"{role}: {exc}", "error", image_id))
        return None


def data_channel(pixels: NDArray[Any]) -> int | None:
    """The colour channel that holds most, of an image that is grey or has its data in false colour.

    >>> blue = np.zeros((2, 2, 3), np.uint8); blue[..., 2] = 9
    >>> data_channel(blue), data_channel(blue[..., 2])
    (2, None)
    """
    if pixels.ndim == 2:
        return None
    sums = [int(pixels[..., c].sum(dtype=np.int64)) for c in range(min(3, pixels.shape[2]))]
    return int(np.argmax(sums))
