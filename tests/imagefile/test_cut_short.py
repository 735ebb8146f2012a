"""Files truncated after their header are recognised wherever they are cut, and whole ones never are."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from celltable.errors import ImageFileError
from celltable.imagefile import open_release, read_pixels
from celltable.imagefile.cut import cut_short
from celltable.imagefile.pixels import format_of

PIXELS = np.random.default_rng(0).integers(0, 255, (90, 110), np.uint8)


def tiff(**options: Any) -> bytes:
    out = io.BytesIO()
    big = options.pop("bigtiff", False)
    with tifffile.TiffWriter(out, bigtiff=big, byteorder=options.pop("byteorder", "<")) as writer:
        for page in range(options.pop("pages", 1)):
            writer.write(np.roll(PIXELS, page), metadata=None, contiguous=False, **options)
    return out.getvalue()


def pillow(kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Picture.fromarray(PIXELS).save(out, kind, **options)
    return out.getvalue()


def thumbnailed() -> bytes:
    """Make a JPEG with a complete thumbnail JPEG in its EXIF segment, as cameras do."""
    inner = pillow("jpeg")[:4000] + b"\xff\xd9"
    data = pillow("jpeg")
    return data[:2] + b"\xff\xe1" + (len(inner) + 8).to_bytes(2, "big") + b"Exif\0\0" + inner + data[2:]


FILES: dict[str, bytes] = {
    "grey.png": pillow("png"),
    "grey.jpg": pillow("jpeg"),
    "progressive.jpg": pillow("jpeg", progressive=True),
    "thumbnail.jpg": thumbnailed(),
    "grey.bmp": pillow("bmp"),
    "plain.tif": tiff(),
    "lzw.tif": tiff(compression="lzw", rowsperstrip=7),
    "tiles.tif": tiff(compression="zlib", tile=(32, 32)),
    "big.tif": tiff(bigtiff=True, rowsperstrip=8, compression="lzw"),
    "motorola.tif": tiff(byteorder=">", rowsperstrip=8),
    "pages.tif": tiff(pages=3, rowsperstrip=30),
    "pillow.tif": pillow("tiff", compression="tiff_lzw"),  # its directory follows the pixels
}


@pytest.mark.parametrize("name", FILES)
def test_a_complete_file_is_never_reported_as_cut_short(name: str) -> None:
    data = FILES[name]
    assert cut_short(data, format_of(data) or "") == ""
    assert read_pixels(data, name, 0).shape == PIXELS.shape
    assert cut_short(data + b"\0" * 5000, format_of(data) or "") == ""


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_that_cannot_be_decoded_is_reported(name: str) -> None:
    data = FILES[name]
    for n in sorted({*np.linspace(300, len(data) - 1, 12).astype(int).tolist(), len(data) - 40}):
        piece = data[:n]
        try:
            last = 2 if name.startswith("pages") else 0
            whole = np.array_equal(read_pixels(piece, name, last), read_pixels(data, name, last))
        except (ImageFileError, LookupError):
            whole = False
        said = cut_short(piece, format_of(piece) or "")
        if whole:  # what is missing may be padding, or a checksum that decoders do not need
            assert len(data) - n < 16, n
        else:
            assert "is cut short" in said, n
            assert f"{n:,} bytes" in said


def test_cut_files_are_found_in_folders_and_archives_without_reading_more_than_necessary(tmp_path: Path) -> None:
    members = {**FILES, **{f"cut/{name}": data[: len(data) * 2 // 3] for name, data in FILES.items()}}
    folder = tmp_path / "folder"
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    for kind, name in ((zipfile.ZIP_STORED, "stored.zip"), (zipfile.ZIP_DEFLATED, "deflated.zip")):
        with zipfile.ZipFile(tmp_path / name, "w", kind) as archive:
            for member, data in members.items():
                archive.writestr(member, data)
    with tarfile.open(tmp_path / "tape.tar.gz", "w:gz") as tape:
        tape.add(folder, ".")
    expected = {name for name in members if name.startswith("cut/")}
    for path in (folder, tmp_path / "stored.zip", tmp_path / "deflated.zip", tmp_path / "tape.tar.gz"):
        with open_release(path) as release:
            reported = {e.name for e in release.entries if release.cut_short(e)}
        unseen = {n for n in expected if n.endswith((".png", ".jpg"))} if path.name == "deflated.zip" else set()
        assert reported == expected - unseen, path.name


def test_a_directory_that_points_to_itself_does_not_loop_forever() -> None:
    data = bytearray(FILES["plain.tif"])
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    data[first + 2 + 12 * entries : first + 6 + 12 * entries] = first.to_bytes(4, "little")
    assert cut_short(bytes(data), "tiff") == ""


@pytest.mark.parametrize("name", ["plain.tif", "tiles.tif", "big.tif", "grey.png", "grey.jpg", "grey.bmp"])
def test_damage_to_single_bytes_never_causes_more_than_an_error(name: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        data = bytearray(FILES[name])
        for at in rng.integers(0, min(len(data), 600), 3).tolist():
            data[at] = int(rng.integers(256))
        assert isinstance(cut_short(bytes(data), format_of(FILES[name]) or ""), str)


@pytest.mark.real
@pytest.mark.parametrize(
    "path",
    ["bbbc039/bbbc039.zip", "hpa", "livecell/LIVECell_dataset_2021", "tnbc", "kumar", "isbi2009", "pannuke_imagemask"],
)
def test_no_published_file_is_reported_as_cut_short(path: str, sample: Callable[[str], Path]) -> None:
    with open_release(sample(path)) as release:
        images = [e for e in release.entries if e.name.lower().endswith((".png", ".tif", ".jpg", ".bmp"))]
        assert images
        assert [e.name for e in images[:60] if release.cut_short(e)] == []
