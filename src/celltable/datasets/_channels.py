"""Combine channel files into one image: make its record from their headers, and find the channel with the data."""

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
    """Describe an image whose channels are files; leave out a file that differs in size or type or cannot be read."""
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
    """Decode a channel file, or return None and add a finding that says why it cannot be decoded."""
    try:
        return release.read_pixels(entry)
    except (ArchiveError, ImageFileError) as exc:
        findings.append(Finding("unreadable-image", f"{role}: {exc}", "error", image_id))
        return None


def data_channel(pixels: NDArray[Any]) -> int | None:
    """Return the colour channel with the largest sum, or None for a grey image.

    >>> blue = np.zeros((2, 2, 3), np.uint8); blue[..., 2] = 9
    >>> data_channel(blue), data_channel(blue[..., 2])
    (2, None)
    """
    if pixels.ndim == 2:
        return None
    sums = [int(pixels[..., c].sum(dtype=np.int64)) for c in range(min(3, pixels.shape[2]))]
    return int(np.argmax(sums))
