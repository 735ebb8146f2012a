"""Read a label map on disk some rows at a time: a TIFF of any size and compression, never held in memory whole."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from celltable.errors import ImageFileError, MaskError, NotFoundError

from .container import MAX_PIXELS
from .pixels import TIFF_ERRORS

IN_MEMORY: Final = 1 << 28  # bytes; a larger map read whole goes to a temporary file
MAX_STRIP: Final = 2 * MAX_PIXELS  # px of one strip or row of tiles; 20,000 squared in one strip is still read
_Part = tuple[int, NDArray[Any], NDArray[Any], slice]  # number, the band, the requested rows, their place in it
Decode = Callable[..., tuple[NDArray[Any] | None, tuple[int, ...], tuple[int, ...]]]


@dataclass(frozen=True, eq=False)
class LabelStrips:
    """A label map (row, column) of integers in a TIFF; `strips[a:b]` reads rows a to b, `np.asarray` all.

    The file consists of bands: rows of tiles, or strips. The band read last is kept, so that reading downwards decodes
    each band once. Open one with `open_strips`.

    Attributes
    ----------
    path, shape, dtype
        The file, (height, width), and the type of the labels in native byte order.
    band
        Rows per band: that of the file, or any number if the labels are uncompressed.
    tile
        Columns per tile; the width if the file has strips.
    offsets, counts
        Offset and bytes of each tile or strip in the file (0 bytes: it is missing and stands for background).
    order
        Byte order of an uncompressed file, "<" or ">"; "" if its strips or tiles have to be decoded.
    """

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    band: int
    tile: int
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    order: Literal["<", ">", ""]
    decode: Decode = field(repr=False)

    ndim = 2

    @property
    def nbytes(self) -> int:
        """Size of the whole map in memory, in bytes."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"rows are read consecutively; found a step of {step}")
        return self.rows(start, max(start, stop))

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Read rows start to stop (exclusive): (stop - start, width).

        Raises
        ------
        ImageFileError
            If the file is damaged or cut short.
        MaskError
            If a label is negative.
        """
        out = np.empty((stop - start, self.shape[1]), self.dtype)
        self.read_into(start, out)
        return out

    def read_into(self, start: int, out: NDArray[Any]) -> None:
        """Fill `out` (contiguous, of this dtype) with rows from row `start`; raises like `rows`."""
        if not out.size:
            return
        if self.order:
            self._plain(start, out)
        else:
            self._banded(start, out)
        if out.dtype.kind == "i" and int(out.min()) < 0:
            raise MaskError(
                f"{self.path.name}: found the label {int(out.min())} in rows {start} to {start + len(out)}; expected 0 "
                "for background and positive labels"
            )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = self.whole
        return np.array(whole, dtype) if copy else np.asarray(whole, dtype)

    @cached_property
    def whole(self) -> NDArray[Any]:
        """Return all rows: memory-mapped from the file if uncompressed, else in memory or in a temporary file."""
        if self.order == ("<" if sys.byteorder == "little" else ">"):
            return np.memmap(self.path, self.dtype, "r", self.offsets[0], self.shape)
        if self.nbytes <= IN_MEMORY:
            return self.rows(0, self.shape[0])
        with tempfile.TemporaryFile() as file:
            out: NDArray[Any] = np.memmap(file, self.dtype, "w+", 0, self.shape)
        step = max(1, self.band)
        for start in range(0, self.shape[0], step):
            out[start : start + step] = self.rows(start, min(start + step, self.shape[0]))
        return out

    def _plain(self, start: int, out: NDArray[Any]) -> None:
        row, to, got = self.shape[1] * self.dtype.itemsize, out.data.cast("B"), 0
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offsets[0] + start * row)
            while got < len(to):
                n = file.readinto(to[got:])
                if not n:
                    raise ImageFileError(f"{self.path.name}: the TIFF is cut short within row {start + got // row}.")
                got += n
        if self.order != ("<" if sys.byteorder == "little" else ">"):
            out.byteswap(inplace=True)

    def _banded(self, start: int, out: NDArray[Any]) -> None:
        stop = start + len(out)
        kept, parts, last = self.__dict__.pop("_last", None), list[_Part](), None
        for k in range(start // self.band, -(-stop // self.band)):
            top = k * self.band
            a, b, height = max(start, top), min(stop, top + self.band), min(self.band, self.shape[0] - top)
            whole = kept[1] if kept is not None and kept[0] == k else None
            to = out[a - start : b - start]
            if whole is not None:
                to[:] = whole[a - top : b - top]
            else:
                whole = to if b - a == height else np.empty((height, self.shape[1]), self.dtype)
                parts.append((k, whole, to, slice(a - top, b - top)))
            last = (k, whole) if whole is not to else None
        kept = None  # freed before the next are decoded
        self._decoded(parts)
        self.__dict__["_last"] = last
        for _, whole, to, rows in parts:
            if whole is not to:
                to[:] = whole[rows]

    def _decoded(self, parts: list[_Part]) -> None:
        """Decode the bands, several strips or tiles at once."""
        across = -(-self.shape[1] // self.tile)
        with self.path.open("rb") as file:
            jobs = [
                (k * across + x, x, whole, self._packed(file, k * across + x))
                for k, whole, *_ in parts
                for x in range(across)
            ]
        if len(jobs) < 2:
            for job in jobs:
                self._fill(job)
            return
        with ThreadPoolExecutor(min(len(jobs), os.cpu_count() or 1)) as pool:
            list(pool.map(self._fill, jobs))

    def _packed(self, file: Any, index: int) -> bytes:
        file.seek(self.offsets[index])
        data: bytes = file.read(self.counts[index]) if self.counts[index] else b""
        if len(data) < self.counts[index]:
            raise ImageFileError(f"{self.path.name}: the TIFF is cut short within its part {index}.")
        return data

    def _fill(self, job: tuple[int, int, NDArray[Any], bytes]) -> None:
        """Decode one strip or tile into its place of a band."""
        index, x, band, data = job
        to = band[:, x * self.tile : (x + 1) * self.tile]
        try:
            decoded = self.decode(data, index)[0] if data else None
        except TIFF_ERRORS as exc:
            raise ImageFileError(f"{self.path.name}: part {index} of the TIFF is damaged ({exc}).") from exc
        if decoded is None:  # missing: background
            to[:] = 0
            return
        part = decoded[0, : to.shape[0], : to.shape[1], 0]
        if part.shape != to.shape:
            raise ImageFileError(f"{self.path.name}: part {index} of the TIFF is too small: {part.shape}.")
        to[:] = part


def open_strips(path: str | Path, index: int | None = None) -> LabelStrips | None:
    """Open a TIFF with one plane of integers as `LabelStrips`, however large; None if it holds anything else.

    Only the header is read. A file with one compressed strip is decoded whole when its first row is requested.

    Parameters
    ----------
    index
        Page of the file; required if there are several.

    Raises
    ------
    ImageFileError
        If the file is damaged, or a single strip or row of tiles in it is larger than what celltable decodes at once.
    NotFoundError
        If the page does not exist.
    """
    import tifffile

    path = Path(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            pages, others = len(tiff.pages), list[Any](tiff.pages)[1:]
            if index is not None and not 0 <= index < pages:
                raise NotFoundError(f"{path.name} has no page {index}; it has {pages}.")
            if index is None and not all(p.aspage().is_reduced for p in others):
                return None
            page: Any = tiff.pages[index or 0].aspage()
            plain = bool(page.is_contiguous and page.compression == 1 and page.predictor == 1)
            return _of(path, page, tiff.byteorder if plain else "")
    except (*TIFF_ERRORS, tifffile.TiffFileError) as exc:
        if isinstance(exc, ImageFileError | NotFoundError):
            raise
        raise ImageFileError(f"{path.name}: the TIFF is damaged or cut short ({exc}).") from exc


def _of(path: Path, page: Any, order: Literal["<", ">", ""]) -> LabelStrips | None:
    whole = page.dtype is not None and page.dtype.kind in "iu" and page.bitspersample == 8 * page.dtype.itemsize
    if not whole or page.axes != "YX" or page.samplesperpixel != 1:
        return None
    height, width = int(page.imagelength), int(page.imagewidth)
    band, tile = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    band = max(1, min(int(band), height) if not page.is_tiled else int(band))
    if height < 1 or width < 1 or (not order and band * width > MAX_STRIP):
        raise ImageFileError(
            f"{path.name}: {height:,} x {width:,} px in parts of {band:,} rows; more than {MAX_STRIP:,} px in one part "
            "are refused. Save it with tiles or strips of some hundred rows."
        )
    parts = -(-height // band) * -(-width // int(tile))
    offsets, counts = tuple(map(int, page.dataoffsets)), tuple(map(int, page.databytecounts))
    if not order and (len(offsets) < parts or len(counts) < parts):
        raise ImageFileError(
            f"{path.name}: the TIFF lists {len(offsets)} of {parts} parts; it is damaged or cut short."
        )
    dtype = page.dtype.newbyteorder("=")
    return LabelStrips(path, (height, width), dtype, band, int(tile), offsets, counts, order, page.decode)
