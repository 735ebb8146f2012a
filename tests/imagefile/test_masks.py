"""Mask PNGs to run lengths in bulk: byte-equal to pycocotools, for every type of PNG; broken ones become errors."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pngmaker import chunk, filtered, png
from pycocotools import mask as coco

from celltable._native import codec
from celltable.imagefile import MAX_PIXELS, MaskBatch, open_release
from celltable.imagefile.masks import from_native


def decoded(*files: bytes, workers: int = 1) -> MaskBatch:
    return from_native(codec.masks_of_bytes(list(files), workers, MAX_PIXELS), [f"{i}.png" for i in range(len(files))])


def agrees(batch: MaskBatch, i: int, mask: NDArray[np.bool_]) -> None:
    expected = coco.encode(np.asfortranarray(mask))
    assert batch.counts[i] == expected["counts"]
    assert batch.areas[i] == mask.sum()
    assert tuple(batch.sizes[i]) == mask.shape
    ys, xs = np.nonzero(mask)
    tight = (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1) if len(xs) else (0, 0, 0, 0)
    assert tuple(batch.boxes[i]) == tuple(tight)


@st.composite
def mask_arrays(draw: st.DrawFn) -> NDArray[np.bool_]:
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(0, 4))):
        y, x = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[y : y + draw(st.integers(1, 30)), x : x + draw(st.integers(1, 30))] = draw(st.booleans())
    if draw(st.booleans()):
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        mask ^= rng.random(mask.shape) < draw(st.sampled_from([0.01, 0.3]))
    return mask


@given(mask_arrays(), st.integers(0, 2**31), st.integers(0, 9), st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_grey_masks_with_any_row_filters_equal_pycocotools(
    mask: NDArray[np.bool_], seed: int, level: int, parts: int
) -> None:
    filters = np.random.default_rng(seed).integers(0, 5, len(mask))
    raw = filtered(mask.astype(np.uint8) * 255, filters)
    batch = decoded(png(mask.shape, raw, level=level, parts=parts))
    assert batch.errors == []
    assert batch.modes == ["L"]
    assert batch.values_ok.all()
    agrees(batch, 0, mask)


@given(st.lists(mask_arrays(), min_size=2, max_size=5), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_one_mask_leaves_nothing_behind_for_the_next(masks: list[NDArray[np.bool_]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    files = [png(m.shape, filtered(m.astype(np.uint8) * 255, rng.integers(0, 5, len(m)))) for m in masks]
    mixed = [f for file in files for f in (file, file[:-20], file[: len(file) // 2], file.replace(b"IDAT", b"IDAU"))]
    batch = decoded(*mixed)
    assert {i for i, _ in batch.errors} == {i for i in range(len(mixed)) if i % 4}
    for i, mask in enumerate(masks):
        agrees(batch, 4 * i, mask)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
@given(mask_arrays())
@settings(max_examples=25, deadline=None)
def test_masks_of_every_colour_type_equal_pycocotools(mode: str, mask: NDArray[np.bool_]) -> None:
    if mode == "I;16":
        image = Image.fromarray(mask.astype(np.uint16) * 65535)
    elif mode == "P":
        image = Image.fromarray(mask.astype(np.uint8))
        image.putpalette([0, 0, 0, 255, 255, 255])
    else:
        image = Image.fromarray(mask.astype(np.uint8) * 255).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    batch = decoded(buffer.getvalue())
    assert batch.errors == []
    assert batch.modes[0].split(";")[0] == mode.split(";")[0]
    assert batch.values_ok.all()
    assert batch.alpha_ok.all()
    agrees(batch, 0, mask)


def test_grey_levels_and_changing_alpha_are_flagged() -> None:
    grey = np.array([[0, 7], [255, 0]], np.uint8)
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 1] = (0, 9, 0, 255)
    files = []
    for array in (grey, rgba):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "PNG")
        files.append(buffer.getvalue())
    batch = decoded(*files)
    assert batch.values_ok.tolist() == [False, False]
    assert batch.alpha_ok.tolist() == [True, False]
    assert batch.areas.tolist() == [2, 1]


def test_every_kind_of_damage_is_an_error_that_names_the_file() -> None:
    good = png((4, 4), filtered(np.eye(4, dtype=np.uint8) * 255, np.zeros(4, int)))
    stream = zlib.compress(bytes(20))
    head = good[:33]

    def with_idat(body: bytes) -> bytes:
        return head + chunk(b"IDAT", body) + chunk(b"IEND", b"")

    cases = {
        "empty": b"",
        "not a PNG": b"GIF89a" + bytes(60),
        "cut short": good[:-12],
        "IHDR checksum": good[:20] + b"\1" + good[21:],
        "IDAT checksum": good[:45] + bytes([good[45] ^ 1]) + good[46:],
        "zlib header": with_idat(b"\0" + stream[1:]),
        r"\(checksum\)": with_idat(stream[:-1] + bytes([stream[-1] ^ 1])),
        "of 20 bytes": with_idat(zlib.compress(bytes(19))),
        "more than its header": with_idat(zlib.compress(bytes(21))),
        "row filter 9": with_idat(zlib.compress(b"\x09" + bytes(19))),
        "holds no pixel data": head + chunk(b"IEND", b""),
        "bomb": png((30_000, 30_000), b""),
        "colour type 5": png((4, 4), b"", colour=5),
        "0 x 4": png((0, 4), b""),
    }
    batch = decoded(*cases.values(), good)
    assert len(batch.errors) == len(cases)
    for (i, message), (expected, _) in zip(batch.errors, cases.items(), strict=True):
        assert message.startswith(f"{i}.png: ")
        with pytest.raises(AssertionError, match=expected):
            raise AssertionError(message)
        assert batch.counts[i] == b""
    assert batch.areas[-1] == 4


@given(st.binary(max_size=8), st.integers(0, 2**31))
@settings(max_examples=300, deadline=None)
def test_damaged_files_never_crash_and_never_pass_as_another_mask(noise: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((30, 40), bool)
    mask[5:20, 6:30] = True
    file = bytearray(png((30, 40), filtered(mask.astype(np.uint8) * 255, rng.integers(0, 5, 30))))
    at = int(rng.integers(len(file)))
    file[at : at + len(noise)] = noise
    batch = decoded(bytes(file), bytes(file[: int(rng.integers(len(file)))]))
    for i in {0, 1} - {i for i, _ in batch.errors}:
        agrees(batch, i, mask)


@pytest.mark.parametrize("pack", ["folder", "stored", "deflated", "tar"])
@pytest.mark.parametrize("workers", [1, 3])
def test_masks_come_out_of_every_packing_in_the_order_asked_for(pack: str, workers: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = [rng.random((9, 5 + i % 7)) < 0.4 for i in range(150)]
    files = {
        f"{i:03}.png": png(m.shape, filtered(m.astype(np.uint8) * 255, np.zeros(9, int))) for i, m in enumerate(masks)
    }
    files["050.png"] = b"broken"
    path = tmp_path / ("d" if pack == "folder" else "d.tar" if pack == "tar" else "d.zip")
    if pack == "folder":
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data)
    elif pack == "tar":
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED if pack == "stored" else zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    order = rng.permutation(150)
    with open_release(path) as release:
        batch = release.read_masks([release.entries[i] for i in order], workers)
        assert release.read_masks([]).counts == []
    for i, k in enumerate(order):
        if k != 50:
            agrees(batch, i, masks[k])
    assert [i for i, _ in batch.errors] == [int(np.flatnonzero(order == 50)[0])]
    assert "050.png" in batch.errors[0][1]


def test_a_mask_whose_zip_checksum_is_wrong_or_file_is_gone_is_an_error(tmp_path: Path) -> None:
    good = png((4, 4), bytes(20))
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
            archive.writestr("a.png", good)
            archive.writestr("b.png", good)
        data = bytearray((tmp_path / "a.zip").read_bytes())
        struct.pack_into("<I", data, data.find(b"PK\x01\x02") + 16, 1)
        (tmp_path / "a.zip").write_bytes(data)
        with open_release(tmp_path / "a.zip") as release:
            batch = release.read_masks(release.entries)
        assert [i for i, _ in batch.errors] == [0]
        assert "checksum" in batch.errors[0][1]
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.png").write_bytes(good)
    with open_release(tmp_path / "d") as release:
        (tmp_path / "d" / "a.png").unlink()
        assert "No such file" in release.read_masks(release.entries).errors[0][1]


def test_masks_of_several_archives_are_interleaved_in_order(tmp_path: Path) -> None:
    masks = [np.eye(n, dtype=bool) for n in range(1, 9)]
    for half in (0, 1):
        with zipfile.ZipFile(tmp_path / f"{half}.zip", "w") as archive:
            for i in range(half, 8, 2):
                archive.writestr(
                    f"{i}.png", png(masks[i].shape, filtered(masks[i].astype(np.uint8) * 255, np.zeros(i + 1, int)))
                )
            archive.writestr("9.png", b"")
    with open_release(tmp_path) as release:
        mixed = sorted(release.entries, key=lambda e: e.name)
        batch = release.read_masks(mixed)
    for i, mask in enumerate(masks):
        agrees(batch, i, mask)
    assert [i for i, _ in batch.errors] == [8, 9]


@pytest.mark.real
def test_the_published_masks_equal_pil_and_pycocotools(sample: Callable[[str], Path]) -> None:
    with open_release(sample("dsb2018/stage1_train.zip")) as release:
        entries = [e for e, _ in release.match(r"[0-9a-f]{64}/masks/[^/]+\.png")]
        batch = release.read_masks(entries, 2)
        assert len(batch) == 29_461
        assert batch.errors == []
        assert batch.values_ok.all()
        assert (int(batch.areas.min()), float(np.median(batch.areas)), int(batch.areas.max())) == (21, 305, 11_037)
        for i in range(0, len(entries), 73):
            mask = np.asarray(Image.open(io.BytesIO(release.read(entries[i])))) > 0
            agrees(batch, i, mask)
