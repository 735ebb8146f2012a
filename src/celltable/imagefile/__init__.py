"""Read pixels from releases as downloaded (folders, zips, tars), from common image files, and from masks in bulk.

`open_release` opens a release once; its members are listed, matched and read the same way however it is packed.
`read_pixels` and `image_info` decode one file, `read_located` the pixels that a row of a store points to, `open_strips`
a label map too large for memory.
"""

from __future__ import annotations

from .container import MAX_MEMBER_BYTES, MAX_PIXELS, MAX_RATIO
from .located import read_located
from .masks import MaskBatch
from .npy import let_go
from .pixels import ImageInfo, image_info, read_pixels
from .release import Entry, Release, ReleaseReference, Source, open_release
from .strips import LabelStrips, open_strips

__all__ = [
    "MAX_MEMBER_BYTES",
    "MAX_PIXELS",
    "MAX_RATIO",
    "Entry",
    "ImageInfo",
    "LabelStrips",
    "MaskBatch",
    "Release",
    "ReleaseReference",
    "Source",
    "image_info",
    "let_go",
    "open_release",
    "open_strips",
    "read_located",
    "read_pixels",
]
