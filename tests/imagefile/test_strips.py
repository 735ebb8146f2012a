"""A label map read in strips of rows equals the whole map, however it is packed, and damage is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from celltable.errors import ImageFileError, MaskError, NotFoundError
from celltable.imagefile import LabelStrips, open_strips, strips

PACKINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "plain, big-endian": {"byteorder": ">"},
    "plain, strips": {"rowsperstrip": 7},
    "plain, tiles": {"tile": (16, 32)},
    "zlib": {"compression": "zlib", "rowsperstrip": 9},
    "zlib, one strip": {"compression": "zlib", "rowsperstrip": 1000},
    "zlib, predictor, tiles": {"compression": "zlib", "predictor": True, "tile": (32, 16)},
    "lzw": {"compression": "lzw", "rowsperstrip": 5},
    "lzw, predictor, big-endian": {"compression": "lzw", "predictor": True, "rowsperstrip": 11, "byteorder": ">"},
    "zstd, tiles": {"compression": "zstd", "tile": (48, 48)},
    "packbits": {"compression": "packbits", "rowsperstrip": 4},
    "BigTIFF": {"bigtiff": True},
    "BigTIFF, zlib, tiles": {"bigtiff": True, "compression": "zlib", "tile": (16, 16)},
}


def labels(dtype: Any, size: tuple[int, int] = (101, 67)) -> NDArray[Any]:
    top = min(np.iinfo(dtype).max, 2**40)
    return np.random.default_rng(0).integers(0, top, size, endpoint=True).astype(dtype)


def opened(path: Path, **how: Any) -> LabelStrips:
    stored = open_strips(path, **how)
    assert stored is not None
    return stored


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_rows_of_a_file_are_those_of_the_map(tmp_path: Path, packing: str, dtype: str) -> None:
    expected = labels(dtype)
    tifffile.imwrite(tmp_path / "map.tif", expected, **PACKINGS[packing])
    stored = opened(tmp_path / "map.tif")
    assert (stored.shape, stored.dtype) == (expected.shape, expected.dtype)
    for step in (1, 7, 16, 40, 101, 500):
        parts = [stored[y : y + step] for y in range(0, 101, step)]
        assert all(p.dtype == expected.dtype and p.flags.c_contiguous for p in parts)
        np.testing.assert_array_equal(np.concatenate(parts), expected)
    for rows in (slice(60, 20), slice(101, 101), slice(0, 0), slice(90, 300)):
        np.testing.assert_array_equal(stored[rows], expected[rows])
    np.testing.assert_array_equal(np.asarray(stored), expected)


def test_a_large_packed_map_that_is_wanted_whole_is_a_memory_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = labels("uint32")
    monkeypatch.setattr(strips, "IN_MEMORY", 100)
    tifffile.imwrite(tmp_path / "map.tif", expected, compression="zlib", rowsperstrip=10)
    whole = opened(tmp_path / "map.tif").whole
    assert isinstance(whole, np.memmap)
    np.testing.assert_array_equal(whole, expected)


def test_each_strip_is_decoded_once_going_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "map.tif", labels("uint16"), compression="zlib", tile=(16, 16))
    stored, decoded = opened(tmp_path / "map.tif"), list[int]()
    packed = LabelStrips._packed

    def counted(self: LabelStrips, file: Any, index: int) -> bytes:
        decoded.append(index)
        return packed(self, file, index)

    monkeypatch.setattr(LabelStrips, "_packed", counted)
    for y in range(0, 101, 5):
        stored.rows(y, min(y + 5, 101))
    assert decoded == list(range(7 * 5))


def test_missing_tiles_are_background(tmp_path: Path) -> None:
    blocks = iter([np.ones((16, 16), np.uint16), None, None, np.full((16, 16), 4, np.uint16)])
    tifffile.imwrite(tmp_path / "map.tif", blocks, shape=(32, 32), dtype=np.uint16, tile=(16, 16), compression="zlib")
    expected = np.zeros((32, 32), np.uint16)
    expected[:16, :16], expected[16:, 16:] = 1, 4
    np.testing.assert_array_equal(opened(tmp_path / "map.tif")[0:32], expected)


@pytest.mark.parametrize(
    "array", [np.zeros((5, 6, 3), np.uint8), np.zeros((5, 6), np.float32), np.zeros((2, 5, 6), np.uint16)]
)
def test_what_is_no_label_map_of_one_page_is_left_to_other_readers(tmp_path: Path, array: NDArray[Any]) -> None:
    photometric = "rgb" if array.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "map.tif", array, photometric=photometric)
    assert open_strips(tmp_path / "map.tif") is None


def test_a_page_is_picked_by_its_number(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "map.tif", np.arange(60, dtype=np.uint16).reshape(2, 5, 6), photometric="minisblack")
    assert opened(tmp_path / "map.tif", index=1)[0:1].tolist() == [[30, 31, 32, 33, 34, 35]]
    with pytest.raises(NotFoundError, match="has no page 2; it has 2"):
        open_strips(tmp_path / "map.tif", 2)


@pytest.mark.parametrize("packing", ["plain", "plain, strips", "lzw", "zlib, predictor, tiles"])
def test_a_file_that_is_cut_short_is_an_error(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "map.tif"
    tifffile.imwrite(path, labels("uint16"), **PACKINGS[packing])
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(ImageFileError, match="cut short"):
        opened(path).rows(0, 101)


def test_damaged_strips_and_negative_labels_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"
    tifffile.imwrite(path, labels("uint16"), compression="zlib", rowsperstrip=50)
    data = bytearray(path.read_bytes())
    at = opened(path).offsets[1]
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(ImageFileError, match="part 1 of the TIFF is damaged"):
        opened(path).rows(0, 101)
    tifffile.imwrite(path, np.array([[0, 3], [5, -2]], np.int32))
    with pytest.raises(MaskError, match="found the label -2 in rows 0 to 2"):
        opened(path).rows(0, 2)
    path.write_bytes(b"II*\0" + bytes(20))
    with pytest.raises(ImageFileError, match="damaged or cut short"):
        open_strips(path)


def test_a_single_strip_that_is_too_large_is_refused_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "map.tif", labels("uint8"), compression="zlib", rowsperstrip=1000)
    monkeypatch.setattr(strips, "MAX_STRIP", 1000)
    with pytest.raises(ImageFileError, match="Save it with tiles or strips"):
        open_strips(tmp_path / "map.tif")
