"""Write the pixel file of a tile (PNG, TIFF or NPY) atomically."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.disk import write_whole
from celltable.errors import CelltableError

FORMS: Final = ("auto", "png", "tif", "npy")


def written(pixels: NDArray[Any], folder: Path, name: str, form: str, scratch: Path) -> Path:
    """Write pixels (row, column[, channel]) as ``<folder>/<name>.<form>`` and return the path.

    The file is written in `scratch`, a folder on the same disk, and then moved.
    """
    ending = form if form != "auto" else "png" if _fits_png(pixels) else "npy"
    if ending == "png" and not _fits_png(pixels):
        raise CelltableError(
            f"a PNG cannot hold pixels of {pixels.dtype} with {pixels.shape[2:] or (1,)} channels; use npy or auto."
        )
    target = folder / f"{name}.{ending}"
    write_whole(target, _encoded(np.ascontiguousarray(pixels), ending), scratch)
    return target


def _fits_png(pixels: NDArray[Any]) -> bool:
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    return pixels.dtype.name in ("uint8", "uint16") and (pixels.ndim == 2 or channels in (3, 4))


def _encoded(pixels: NDArray[Any], ending: str) -> bytes:
    if ending == "png":
        from imagecodecs import png_encode

        return bytes(png_encode(pixels, level=1))
    stream = io.BytesIO()
    if ending == "npy":
        np.save(stream, pixels, allow_pickle=False)
    else:
        import tifffile

        colours = pixels.ndim == 3 and pixels.shape[2] in (3, 4)
        tifffile.imwrite(
            stream, pixels, compression="zlib", metadata=None, photometric="rgb" if colours else "minisblack",
            planarconfig="contig" if pixels.ndim == 3 else None,
        )  # fmt: skip
    return stream.getvalue()
