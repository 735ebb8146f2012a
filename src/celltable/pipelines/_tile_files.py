"""The pixel file of a tile: PNG, TIFF or NPY, written whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.disk import plain_os_errors
from celltable.errors import CelltableError

FORMS: Final = ("auto", "png", "tif", "npy")


def written(pixels: NDArray[Any], folder: Path, name: str, form: str) -> Path:
    """Write pixels (row, column[, channel]) as ``<folder>/<name>.<form>`` and return the path."""
    kind = form if form != "auto" else "png" if _fits_png(pixels) else "npy"
    if kind == "png" and not _fits_png(pixels):
        raise CelltableError(
            f"a PNG cannot hold pixels of {pixels.dtype} with {pixels.shape[2:] or (1,)} channels; use npy or auto."
        )
    target = folder / f"{name}.{kind}"
    with plain_os_errors(target):
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{threading.get_ident()}")
        with partial.open("wb") as sink:
            _save(np.ascontiguousarray(pixels), sink, kind)
        os.replace(partial, target)
    return target


def _fits_png(pixels: NDArray[Any]) -> bool:
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    return pixels.dtype.name in ("uint8", "uint16") and (pixels.ndim == 2 or channels in (3, 4))


def _save(pixels: NDArray[Any], sink: Any, kind: str) -> None:
    if kind == "npy":
        np.save(sink, pixels, allow_pickle=False)
    elif kind == "png":
        from imagecodecs import png_encode

        sink.write(png_encode(pixels, level=1))
    else:
        import tifffile

        colours = pixels.ndim == 3 and pixels.shape[2] in (3, 4)
        tifffile.imwrite(
            sink, pixels, compression="zlib", metadata=None, photometric="rgb" if colours else "minisblack",
            planarconfig="contig" if pixels.ndim == 3 else None,
        )  # fmt: skip
