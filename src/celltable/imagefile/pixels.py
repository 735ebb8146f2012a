"""Decode one image file or its header (PNG, TIFF, BMP, DIB, JPEG, NPY), judged by content and not by name."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from celltable.errors import ImageFileError, NotFoundError

from . import bmp, npy
from .container import MAX_PIXELS

HEADER_BYTES: Final = 1 << 14
Format = Literal["png", "tiff", "bmp", "dib", "jpeg", "npy"]
_SUFFIXES: Final[dict[str, tuple[str, ...]]] = {
    "png": ("png",),
    "tiff": ("tif", "tiff", "svs", "ome.tif", "stk", "lsm"),
    "bmp": ("bmp", "dib"),
    "dib": ("dib",),
    "jpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "npy": ("npy",),
}
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
_TIFF_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
TIFF_ERRORS: Final = (  # raised by tifffile and its decoders on damaged files
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What a header states: size in px, channels, NumPy name of the sample type, format, pages or rows."""

    height: int
    width: int
    channels: int
    dtype: str
    format: Format
    pages: int = 1

    def suffix_fits(self, name: str) -> bool:
        """Whether a file name's suffix agrees with the content.

        >>> ImageInfo(1, 1, 1, "uint8", "png").suffix_fits("a.PNG")
        True
        """
        return name.rpartition(".")[2].lower() in _SUFFIXES[self.format]


def format_of(data: bytes) -> Format | None:
    """Recognise the format of a file by its first bytes; None if unknown.

    >>> format_of(b"\\xff\\xd8\\xff\\xe0")
    'jpeg'
    """
    if data.startswith(_PNG_MAGIC):
        return "png"
    if data[:4] in _TIFF_MAGIC:
        return "tiff"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(npy.MAGIC):
        return "npy"
    if data.startswith(b"BM"):
        return "bmp"
    return "dib" if bmp.is_bare(data) else None


def read_pixels(data: bytes, name: str, index: int | None = None) -> NDArray[Any]:
    """Decode an image: (row, column) or (row, column, channel), bit depth and channels as stored.

    Palettes become RGB or RGBA; samples of less than 8 bits are scaled to 0-255, as in every viewer.

    Parameters
    ----------
    data
        The whole file.
    name
        For messages only; the content decides the format.
    index
        Page of a TIFF or row of an .npy; required if there are several.

    Raises
    ------
    ImageFileError
        If the file is damaged, cut short, too large or in no known format.
    NotFoundError
        If the page or row does not exist.
    """
    image_format = format_of(data)
    if image_format is None:
        raise _unknown(data, name)
    if image_format == "tiff":
        return _read_tiff(io.BytesIO(data), len(data), name, index)
    if image_format == "npy":
        array = npy.decoded(data, name)
        return array if index is None else npy.row(array, index, name)
    if index not in (None, 0):
        raise NotFoundError(f"{name} is a {image_format} file with a single image; it has no page {index}.")
    decoders: dict[str, Callable[[bytes, str], NDArray[Any]]] = {"png": _read_png, "jpeg": _read_jpeg}
    return decoders.get(image_format, _read_bmp)(data, name)


def image_info(source: bytes | str | Path, name: str | None = None) -> ImageInfo:
    """Read size, channels and type from the header; `source` is a path, or the first bytes of a file.

    A TIFF, and a JPEG with long metadata, needs more than the first bytes (see `needs_more`).

    Raises
    ------
    ImageFileError
        If the header is damaged, cut short or of no known format.
    """
    if isinstance(source, bytes):
        return _info(source, name or "image", io.BytesIO(source), len(source))
    path = Path(source)
    with path.open("rb") as file:
        data = file.read(HEADER_BYTES)
        if format_of(data) == "jpeg" and needs_more(data):
            data += file.read()
        file.seek(0)
        return _info(data, name or path.name, file, path.stat().st_size)


def needs_more(data: bytes) -> bool:
    """Whether the header continues beyond these bytes.

    >>> needs_more(b"\\x89PNG\\r\\n\\x1a\\n")
    False
    """
    image_format = format_of(data)
    return image_format == "tiff" or (image_format == "jpeg" and _jpeg_frame(data) is None)


def _info(data: bytes, name: str, file: Any, size: int) -> ImageInfo:
    image_format = format_of(data)
    if image_format == "png":
        info = _png_info(data, name)
    elif image_format == "tiff":
        info = _tiff_info(file, name)
    elif image_format == "jpeg":
        info = _jpeg_info(data, name)
    elif image_format == "npy":
        info = _npy_info(data, name)
    elif image_format in ("bmp", "dib"):
        bitmap = bmp.header(data, name)
        info = ImageInfo(bitmap.height, bitmap.width, bitmap.channels(data), "uint8", image_format)
    else:
        raise _unknown(data, name)
    if image_format != "npy":
        _bounded(info.height, info.width, name)
    return info


def _bounded(height: int, width: int, name: str) -> None:
    if height < 1 or width < 1:
        raise ImageFileError(f"{name}: its header says {height} x {width} px; expected at least 1 x 1.")
    if height * width > MAX_PIXELS:
        raise ImageFileError(
            f"{name}: its header says {height:,} x {width:,} px; more than {MAX_PIXELS:,} are refused as a bomb."
        )


def _unknown(data: bytes, name: str) -> ImageFileError:
    start = f"begins with {data[:4].hex(' ')}" if data else "is empty"
    return ImageFileError(f"{name}: expected a PNG, TIFF, BMP, DIB, JPEG or NPY file; this one {start}.")


def _png_info(data: bytes, name: str) -> ImageInfo:
    if len(data) < 29 or data[12:16] != b"IHDR":
        raise ImageFileError(f"{name}: the PNG is cut short or damaged within its header.")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if colour not in _PNG_CHANNELS:
        raise ImageFileError(f"{name}: the PNG has colour type {colour}; expected 0, 2, 3, 4 or 6.")
    channels = _PNG_CHANNELS[colour] + (colour == 3 and b"tRNS" in data[: data.find(b"IDAT")])
    return ImageInfo(height, width, channels, "uint16" if depth == 16 else "uint8", "png")


def _read_png(data: bytes, name: str) -> NDArray[Any]:
    from celltable._native import codec

    try:
        array: NDArray[Any] = codec.decode_png(data, MAX_PIXELS)
    except ValueError as exc:
        raise ImageFileError(f"{name}: {exc}") from exc
    return array


def _jpeg_frame(data: bytes) -> tuple[int, int, int, int] | None:
    """Read (height, width, channels, bits) of the start-of-frame segment; None if it is not in `data`."""
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, channels = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return height, width, channels, bits
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _jpeg_info(data: bytes, name: str) -> ImageInfo:
    frame = _jpeg_frame(data)
    if frame is None:
        raise ImageFileError(f"{name}: the JPEG is cut short or damaged within its header.")
    height, width, channels, bits = frame
    return ImageInfo(height, width, channels, "uint8" if bits <= 8 else "uint16", "jpeg")


def _read_jpeg(data: bytes, name: str) -> NDArray[Any]:
    from PIL.JpegImagePlugin import JpegImageFile

    info = _jpeg_info(data, name)
    _bounded(info.height, info.width, name)
    try:
        with JpegImageFile(io.BytesIO(data)) as image:
            return np.array(image)
    except (OSError, SyntaxError, ValueError) as exc:
        raise ImageFileError(f"{name}: the JPEG is damaged or cut short ({exc}).") from exc


def _npy_info(data: bytes, name: str) -> ImageInfo:
    shape, _, dtype = npy.header(io.BytesIO(data), name)
    if not 2 <= len(shape) <= 4:
        raise ImageFileError(f"{name}: an array of shape {shape} is not an image; expected 2 to 4 axes.")
    if len(shape) == 4:
        return ImageInfo(shape[1], shape[2], shape[3], dtype.name, "npy", shape[0])
    if len(shape) == 3 and shape[2] > 16:  # (image, row, column): no image has that many channels
        return ImageInfo(shape[1], shape[2], 1, dtype.name, "npy", shape[0])
    return ImageInfo(shape[0], shape[1], shape[2] if len(shape) == 3 else 1, dtype.name, "npy")


def _tiff_info(file: Any, name: str) -> ImageInfo:
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages.first
            if page.dtype is None:
                raise ImageFileError(f"{name}: the TIFF has samples of a type that is not supported.")
            channels = int(page.samplesperpixel)
            dtype = "bool" if page.bitspersample == 1 else page.dtype.name
            return ImageInfo(int(page.imagelength), int(page.imagewidth), channels, dtype, "tiff", len(tiff.pages))
    except (*TIFF_ERRORS, tifffile.TiffFileError) as exc:
        if isinstance(exc, ImageFileError):
            raise
        raise ImageFileError(f"{name}: the TIFF is damaged or cut short ({exc}).") from exc


def _read_tiff(file: Any, size: int, name: str, index: int | None) -> NDArray[Any]:
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page = _page(tiff, name, index)
            _bounded(page.imagelength, page.imagewidth * max(1, page.samplesperpixel // 16), name)
            ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False) if n]
            if max(ends, default=0) > size:
                raise ImageFileError(f"{name}: the TIFF is cut short: {size:,} bytes, it needs {max(ends):,}.")
            array: NDArray[Any] = page.asarray()
            return np.ascontiguousarray(np.moveaxis(array, 0, -1)) if page.axes == "SYX" else array
    except (*TIFF_ERRORS, tifffile.TiffFileError) as exc:
        if isinstance(exc, ImageFileError | NotFoundError):
            raise
        raise ImageFileError(f"{name}: the TIFF is damaged or cut short ({exc}).") from exc


def _page(tiff: Any, name: str, index: int | None) -> Any:
    first, count = tiff.pages.first, len(tiff.pages)
    if index is not None:
        if not 0 <= index < count:
            raise NotFoundError(f"{name} has no page {index}; it has {count}.")
        return tiff.pages[index]
    if count > 1 and any(p.shape == first.shape and not p.is_reduced for p in list(tiff.pages)[1:]):
        raise ImageFileError(f"{name} has {count} pages; choose one with index=0 … {count - 1}.")
    return first


def _read_bmp(data: bytes, name: str) -> NDArray[Any]:
    bitmap = bmp.header(data, name)
    _bounded(bitmap.height, bitmap.width, name)
    return bmp.decoded(data, bitmap, name)
