"""Image files against Pillow and tifffile; headers against pixels; damaged files end in one sentence, never a crash."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pngmaker import chunk, filtered, png

from celltable.errors import ImageFileError, NotFoundError
from celltable.imagefile import image_info, open_release, read_located, read_pixels

RNG = np.random.default_rng(7)
DEPTHS = [
    (0, 1),
    (0, 2),
    (0, 4),
    (0, 8),
    (0, 16),
    (2, 8),
    (2, 16),
    (3, 1),
    (3, 2),
    (3, 4),
    (3, 8),
    (4, 8),
    (4, 16),
    (6, 8),
    (6, 16),
]
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def packed_rows(values: NDArray[np.integer], depth: int) -> NDArray[np.uint8]:
    """Convert samples (row, column, sample) to the bytes of PNG rows."""
    flat = values.reshape(len(values), -1)
    if depth == 16:
        return flat.astype(">u2").view(np.uint8).reshape(len(values), -1)
    if depth == 8:
        return flat.astype(np.uint8)
    bits = (flat[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1)


def png_of(values: NDArray[np.integer], depth: int, colour: int, *, interlaced: bool, palette: bytes = b"") -> bytes:
    """Make a PNG from scratch, with random row filters."""
    height, width, samples = values.shape
    bpp = max(1, samples * depth // 8)
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for y, x, dy, dx in starts if interlaced else [(0, 0, 1, 1)]:
        part = values[y::dy, x::dx]
        if part.size:
            raw += filtered(packed_rows(part, depth), RNG.integers(0, 5, len(part)), bpp)
    file = png((height, width), raw, depth, colour)
    if interlaced:
        file = file[:8] + chunk(b"IHDR", file[16:28] + b"\1") + file[33:]
    return file[:33] + (chunk(b"PLTE", palette) if palette else b"") + file[33:]


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("colour", "depth"), DEPTHS)
@given(height=st.integers(1, 20), width=st.integers(1, 20), seed=st.integers(0, 999))
@settings(max_examples=20, deadline=None)
def test_png_of_every_colour_type_depth_and_interlacing(
    colour: int, depth: int, interlaced: bool, height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 1 << depth, (height, width, SAMPLES[colour]))
    palette = rng.bytes(3 << depth) if colour == 3 else b""
    made = png_of(values, depth, colour, interlaced=interlaced, palette=palette)
    expected: NDArray[Any] = values * (255 // ((1 << depth) - 1)) if depth < 8 and colour == 0 else values
    if palette:
        expected = np.frombuffer(palette, np.uint8).reshape(-1, 3)[values[:, :, 0]]
    elif expected.shape[2] == 1:
        expected = expected[:, :, 0]
    result = read_pixels(made, "a.png")
    assert result.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert np.array_equal(result, expected)
    info = image_info(made)
    channels = result.shape[2] if result.ndim == 3 else 1
    assert (info.height, info.width, info.channels, info.dtype) == (height, width, channels, result.dtype.name)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P"])
def test_png_written_by_pillow_reads_as_pillow_reads_it(mode: str) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8)).convert(mode)
    for options in ({}, {"optimize": True}, {"compress_level": 0}, {"compress_level": 9}):
        result = read_pixels(saved(image, "PNG", **options), "a.png")
        assert np.array_equal(result, np.asarray(image.convert({"1": "L", "P": "RGB"}.get(mode, mode))))


def test_a_palette_with_transparency_has_four_channels() -> None:
    image = Image.fromarray(RNG.integers(0, 4, (9, 9), dtype=np.uint8))
    image.putpalette(list(range(12)))
    data = saved(image, "PNG", transparency=b"\x00\x80")
    assert np.array_equal(read_pixels(data, "a.png"), np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")))
    assert image_info(data).channels == 4


@pytest.mark.parametrize("compression", [None, "lzw", "packbits", "zlib"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiffs_keep_depth_and_channels(
    compression: str | None, predictor: bool, shape: tuple[int, ...], dtype: type, tmp_path: Path
) -> None:
    array: NDArray[Any] = RNG.integers(0, 4000 if dtype == np.uint16 else 256, shape).astype(dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        array,
        compression=compression,
        predictor=predictor and compression in ("lzw", "zlib"),
        rowsperstrip=7,
        photometric="rgb" if len(shape) == 3 else "minisblack",
    )
    data = path.read_bytes()
    assert np.array_equal(read_pixels(data, "a.tif"), array)
    info = image_info(path)
    assert (info.height, info.width, info.dtype, info.format) == (40, 30, array.dtype.name, "tiff")
    for size in (6, 40, len(data) // 2, len(data) - 9 * len(array)):
        with pytest.raises(ImageFileError, match=r"a\.tif: .*(cut short|damaged)|a\.tif: expected"):
            read_pixels(data[:size], "a.tif")


def test_pages_and_planes_of_a_tiff(tmp_path: Path) -> None:
    pages = RNG.integers(0, 256, (4, 20, 30), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "p.tif", pages, photometric="minisblack")
    data = (tmp_path / "p.tif").read_bytes()
    assert image_info(data).pages == 4
    assert np.array_equal(read_located(tmp_path, "p.tif", 2), pages[2])
    with pytest.raises(ImageFileError, match="4 pages"):
        read_pixels(data, "p.tif")
    with pytest.raises(NotFoundError, match="no page 4"):
        read_pixels(data, "p.tif", 4)
    tifffile.imwrite(tmp_path / "s.tif", pages[:3], photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_pixels((tmp_path / "s.tif").read_bytes(), "s.tif"), np.moveaxis(pages[:3], 0, -1))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
@pytest.mark.parametrize("bare", [False, True])
def test_bitmaps_with_and_without_file_header(mode: str, bare: bool) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (17, 23, 3), dtype=np.uint8)).convert(mode)
    data = saved(image, "BMP")[14 if bare else 0 :]
    result = read_pixels(data, "a.DIB")
    expected = np.asarray(image.convert({"1": "RGB", "P": "RGB"}.get(mode, mode)))
    assert np.array_equal(result, expected)
    info = image_info(data)
    assert (info.height, info.width, info.format) == (17, 23, "dib" if bare else "bmp")
    assert info.channels == (result.shape[2] if result.ndim == 3 else 1)
    with pytest.raises(ImageFileError, match="cut short"):
        read_pixels(data[:-5], "a.DIB")


def test_a_bitmap_stored_top_down_is_not_turned_over() -> None:
    array = RNG.integers(0, 256, (5, 8, 3), dtype=np.uint8)
    head = struct.pack("<IiiHHIIiiII", 40, 8, -5, 1, 24, 0, 0, 0, 0, 0, 0)
    assert np.array_equal(read_pixels(head + array[:, :, ::-1].tobytes(), "a.dib"), array)


def test_jpegs_are_read_and_cut_ones_refused() -> None:
    for mode in ("L", "RGB"):
        image = Image.fromarray(RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)).convert(mode)
        data = saved(image, "JPEG")
        assert np.array_equal(read_pixels(data, "a.jpg"), np.asarray(Image.open(io.BytesIO(data))))
        info = image_info(data)
        assert (info.height, info.width, info.channels, info.format) == (40, 50, len(mode), "jpeg")
        with pytest.raises(ImageFileError, match="cut short"):
            read_pixels(data[: len(data) // 2], "a.jpg")


def test_the_content_decides_and_the_format_can_be_given_despite_a_wrong_suffix(tmp_path: Path) -> None:
    data = saved(Image.fromarray(np.eye(9, dtype=np.uint8)), "PNG")
    (tmp_path / "a.tif").write_bytes(data)
    with open_release(tmp_path) as release:
        entry = release.entries[0]
        assert np.array_equal(release.read_pixels(entry), np.eye(9))
        assert release.image_info(entry).format == "png"
        assert not release.image_info(entry).suffix_fits(entry.name)
    assert image_info(tmp_path / "a.tif").suffix_fits("b.png")


def attempt(call: Callable[[bytes, str], object], data: bytes) -> Any:
    """Return the call's result, or the message of its ImageFileError; let other exceptions pass."""
    try:
        return call(data, "x.img")
    except ImageFileError as exc:
        return str(exc)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "JPEG"])
def test_files_cut_anywhere_end_in_one_sentence(kind: str) -> None:
    data = saved(Image.fromarray(RNG.integers(0, 9, (12, 14), dtype=np.uint8)), kind)
    whole = read_pixels(data, "whole")
    for size in range(len(data)):
        result = attempt(read_pixels, data[:size])
        assert result.startswith("x.img: ") if isinstance(result, str) else np.array_equal(result, whole)
        assert not isinstance(result, str) or "\n" not in result


@given(st.integers(0, 2**31))
@settings(max_examples=300, deadline=None)
def test_damaged_files_raise_image_file_errors_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = ("PNG", "TIFF", "BMP", "JPEG")[seed % 4]
    data = bytearray(saved(Image.fromarray(rng.integers(0, 9, (12, 14), dtype=np.uint8)), kind))
    for _ in range(3):
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    for call in (read_pixels, image_info):
        result = attempt(call, bytes(data))
        assert not isinstance(result, str) or result.startswith("x.img: ")


def test_headers_that_claim_too_much_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    head = struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    jpeg = bytearray(saved(Image.fromarray(np.zeros((8, 8), np.uint8)), "JPEG"))
    at = jpeg.find(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    for data in (png((60_000, 60_000), b""), head + bytes(99), bytes(jpeg)):
        with pytest.raises(ImageFileError, match="refused as a bomb"):
            read_pixels(data, "bomb")
        with pytest.raises(ImageFileError, match="refused as a bomb"):
            image_info(data, "bomb")
    with pytest.raises(ImageFileError, match="expected a PNG"):
        read_pixels(b"hello", "a.png")
    with pytest.raises(ImageFileError, match="is empty"):
        image_info(b"", "a.png")
