"""Ingest through the command line: a bad image, mask or row becomes a finding, and the rest goes on."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable.pipelines.ingest import ingest
from celltable.store import open_store

from .tools import Outcome, claims, rules, write_zip


def _rezip(bowl: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Change (or, with None, drop) members of stage1_train.zip."""
    path = bowl / "stage1_train.zip"
    with zipfile.ZipFile(path) as archive:
        members = {n: change(n, archive.read(n)) for n in archive.namelist()}
    write_zip(path, {n: d for n, d in members.items() if d is not None})


def _nth(n: int, folder: str, how: Callable[[bytes], bytes | None]) -> Callable[[Path], None]:
    """Change the n-th member in a folder of that name."""

    def spoil(bowl: Path) -> None:
        seen = iter(range(10_000))
        _rezip(bowl, lambda name, data: how(data) if f"/{folder}/" in name and next(seen) == n else data)

    return spoil


def _as(fmt: str, crop: int = 0) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        import io

        from PIL import Image as Picture

        out = io.BytesIO()
        with Picture.open(io.BytesIO(data)) as picture:
            pixels = np.array(picture)[crop:]
        Picture.fromarray(pixels).save(out, fmt)
        return out.getvalue()

    return change


def _bomb(_: bytes) -> bytes:
    """Make a PNG of a few hundred bytes whose header claims 60,000 × 60,000 px."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1 << 16))) + chunk(b"IEND", b"")


def _row(text: str) -> Callable[[Path], None]:
    """Add a row to the table of the test part; {id} and {size} are those of its first row."""

    def spoil(bowl: Path) -> None:
        table = bowl / "stage1_solution.csv"
        first = table.read_text().splitlines()[1].split(",")
        with table.open("a") as sink:
            sink.write(text.format(id=first[0], size=",".join(first[2:])) + "\n")

    return spoil


def _flip(bowl: Path) -> None:
    """Flip one bit of the packed bytes of a mask."""
    path = bowl / "stage1_train.zip"
    with zipfile.ZipFile(path) as archive:
        info = next(i for i in archive.infolist() if "/masks/" in i.filename and "MACOSX" not in i.filename)
    data = bytearray(path.read_bytes())
    data[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 4
    path.write_bytes(bytes(data))


FINDINGS: dict[str, tuple[Callable[[Path], object], str, int]] = {
    # change → rule that is reported once more, and number of cells lost
    "a mask cut short": (_nth(5, "masks", lambda d: d[: len(d) // 2]), "unreadable-mask", 1),
    "a flipped bit in a mask": (_flip, "unreadable-mask", 1),
    "an image cut short": (_nth(2, "images", lambda d: d[: len(d) // 2]), "unreadable-image", 0),
    "an image that is text": (_nth(2, "images", lambda d: b"not an image"), "unreadable-image", 0),
    "an image that is a bomb": (_nth(2, "images", _bomb), "unreadable-image", 0),
    "an image that claims 4 GB": (claims(0xFFFFFFF0), "unreadable-image", 0),
    "an image that claims 3 times its size": (claims(100_000), "unreadable-image", 0),
    "a mask that is a bomb": (_nth(5, "masks", _bomb), "unreadable-mask", 1),
    "an image with a wrong extension": (_nth(2, "images", _as("TIFF")), "wrong-extension", 0),
    "a mask of another size": (_nth(5, "masks", _as("PNG", crop=3)), "size-mismatch", 1),
    "an image that is missing": (_nth(2, "images", lambda d: None), "missing-image", 0),
    "an odd count": (_row("{id},1 3 10,{size}"), "rle-odd-count", 0),
    "a zero length": (_row("{id},1 0,{size}"), "rle-not-positive", 0),
    "a zero start": (_row("{id},0 4,{size}"), "rle-not-positive", 0),
    "a negative length": (_row("{id},9 -4,{size}"), "rle-not-positive", 0),
    "unsorted runs": (_row("{id},100 2 1 2,{size}"), "rle-unsorted", 0),
    "overlapping runs": (_row("{id},1 9 5 9,{size}"), "rle-runs-overlap", 0),
    "a run out of the image": (_row("{id},999999999 2,{size}"), "rle-out-of-image", 0),
    "an id without image": (_row("f" * 64 + ",1 3,20,30,Public"), "missing-image", -1),
}


@pytest.mark.parametrize("case", FINDINGS)
def test_a_bad_item_becomes_a_finding_and_the_rest_goes_on(
    case: str, bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]
) -> None:
    spoil, rule, lost = FINDINGS[case]
    good = ingest("dsb2018", bowl, tmp_path / "good.celltable")
    spoil(bowl)
    status, out, err = celltable("ingest", "dsb2018", bowl, tmp_path / "bad.celltable")
    assert (status, err) == (0, "")
    bad = open_store(tmp_path / "bad.celltable")
    assert rules(bad)[rule] - rules(good)[rule] == 1
    assert len(good.instances) - len(bad.instances) == lost
    assert set(good) <= set(bad)
    assert f"{len(bad.findings):,} findings" in out
    named = bad.findings.arrow.filter(np.array(bad.findings["rule"].to_pylist()) == rule)
    assert set(named["image_id"].to_pylist()) <= {*bad, None}


def test_a_damaged_image_is_a_finding_even_if_pixels_are_copied(bowl: Path, tmp_path: Path) -> None:
    claims(100_000)(bowl)
    store = ingest("dsb2018", bowl, tmp_path / "s.celltable", copy=True)
    assert (rules(store)["unreadable-image"], rules(store)["not-copied"]) == (1, 1)
    assert len(store) == 12
    assert sum(not store.image(i).pixels for i in store) == 1
