"""Large label maps on disk are scored in strips of rows: the same numbers, in less memory than the maps need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import celltable as ct
from celltable.errors import MetricError
from celltable.plugins.metric import MODES, Mode
from celltable.scoring import sources, strips

PACKINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "plain tiles": {"tile": (16, 32)},
    "zlib strips": {"compression": "zlib", "rowsperstrip": 9},
    "zlib in one strip": {"compression": "zlib", "rowsperstrip": 1000},
    "lzw with predictor": {"compression": "lzw", "predictor": True, "rowsperstrip": 13},
    "zstd tiles, BigTIFF": {"compression": "zstd", "tile": (32, 48), "bigtiff": True},
}


def cells(seed: int, size: tuple[int, int] = (190, 140)) -> tuple[NDArray[Any], NDArray[Any]]:
    """Draw rectangles, some long, with holes, over several strips; predictions are moved, merged, cut and dropped."""
    rng = np.random.default_rng(seed)
    gt, pred = np.zeros((2, *size), np.uint32)
    for k in range(1, 60):
        y, x = rng.integers(0, size[0] - 4), rng.integers(0, size[1] - 4)
        h, w = (120, 3) if k % 20 == 0 else rng.integers(3, 22, 2)
        gt[y : y + h, x : x + w] = 7 * k
        if k % 9 == 0:
            gt[y + 1 : y + h - 1, x + 1 : x + w - 1] = 0
        if rng.random() < 0.8:
            pred[max(y - rng.integers(0, 3), 0) : y + h, x : x + w - rng.integers(0, 2)] = rng.integers(1, 60)
    return gt, pred


@pytest.fixture
def by_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat every map as large, and read a few rows at a time."""
    monkeypatch.setattr(sources, "LARGE", 0)
    monkeypatch.setattr(sources, "SMALL_FILE", 0)
    monkeypatch.setattr(strips, "STRIP", 140 * 17)
    monkeypatch.setattr(strips, "WINDOW", 140 * 30)


def numbers(scores: Any) -> dict[str, Any]:
    return {name: (score.value, dict(score.fields)) for name, score in scores.items()}


@pytest.mark.usefixtures("by_strips")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("packing", PACKINGS)
def test_every_metric_of_maps_on_disk_is_that_of_the_maps_in_memory(tmp_path: Path, packing: str, mode: Mode) -> None:
    gt, pred = cells(len(packing))
    tifffile.imwrite(tmp_path / "truth.tif", gt, **PACKINGS[packing])
    tifffile.imwrite(tmp_path / "found.tif", pred.astype(np.uint16), **PACKINGS["plain"])
    assert sources.strips_in(tmp_path / "truth.tif") is not None
    found = ct.evaluate(tmp_path / "truth.tif", tmp_path / "found.tif", mode=mode)
    expected = ct.evaluate(gt, pred, mode=mode)
    assert found.image_ids == ("truth",)
    assert len(found) >= 20
    assert set(found) == set(expected)
    for name, value in numbers(expected).items():
        np.testing.assert_equal(numbers(found)[name], value, err_msg=name)


@pytest.mark.usefixtures("by_strips")
def test_folders_pair_by_name_and_need_the_same_size(tmp_path: Path) -> None:
    for side, shift in (("gt", 0), ("pred", 1)):
        (tmp_path / side).mkdir()
        for k in range(3):
            tifffile.imwrite(tmp_path / side / f"{k}.tif", cells(k)[shift], compression="zlib")
    found = ct.evaluate(tmp_path / "gt", tmp_path / "pred", ["pq_hovernet"])
    expected = ct.evaluate([cells(k)[0] for k in range(3)], [cells(k)[1] for k in range(3)], ["pq_hovernet"])
    np.testing.assert_equal(numbers(found), numbers(expected))
    tifffile.imwrite(tmp_path / "pred" / "1.tif", cells(1, (100, 140))[1])
    with pytest.raises(MetricError, match="190×140 and the prediction 100×140"):
        ct.evaluate(tmp_path / "gt", tmp_path / "pred", ["pq_hovernet"])


def test_two_files_of_one_map_need_not_have_the_same_name(tmp_path: Path) -> None:
    gt, pred = cells(0)
    tifffile.imwrite(tmp_path / "gt.tif", gt)
    tifffile.imwrite(tmp_path / "pred.tif", pred)
    found = ct.evaluate(tmp_path / "gt.tif", tmp_path / "pred.tif", ["pq_hovernet"])
    assert found.image_ids == ("gt",)
    assert found["pq_hovernet"].value == ct.evaluate(gt, pred, ["pq_hovernet"])["pq_hovernet"].value


METRICS = [
    "ap_dsb2018",
    "ap_stardist",
    "aji_kumar2017",
    "aji_plus",
    "dice_pixel",
    "pq_hovernet",
    "seg_ctc",
    "boundary_f_cellpose",
    "mae",
]
SCORE = """
import sys
from pathlib import Path
import celltable as ct
scores = ct.evaluate(sys.argv[1], sys.argv[2], sys.argv[3:], rounds=0)
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(scores["mae"].fields["n"], scores["pq_hovernet"].value, peak)
"""


def write_tissue(path: Path, side: int, shift: int, **packing: Any) -> None:
    """Draw a square map of discs 28 px apart, tile by tile."""
    cell = 28
    y, x = np.mgrid[:cell, :cell] - cell / 2
    disc = np.tile(y**2 + x**2 <= 150, (1, side // cell + 1))[:, :side]
    rows = np.arange(side, dtype=np.uint32)

    def tile(top: int, left: int) -> NDArray[np.uint32]:
        ys, xs = rows[top : top + 512], (rows[left : left + 512] + shift) % side
        ids = (ys // cell)[:, None] * (side // cell + 1) + xs // cell + 1
        return np.asarray(disc[ys % cell][:, xs] * ids, np.uint32)

    tiles = (tile(top, left) for top in range(0, side, 512) for left in range(0, side, 512))
    tifffile.imwrite(path, tiles, shape=(side, side), dtype=np.uint32, tile=(512, 512), **packing)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_memory_stays_under_that_of_the_maps(tmp_path: Path) -> None:
    side = 8192
    for name, shift in (("gt", 0), ("pred", 2)):
        write_tissue(tmp_path / f"{name}.tif", side, shift, compression="zlib")
    command = [sys.executable, "-c", SCORE, str(tmp_path / "gt.tif"), str(tmp_path / "pred.tif"), *METRICS]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    n, quality, peak = ran.stdout.split()
    assert int(n) == 1
    assert 0.7 < float(quality) < 1
    assert int(peak) * 1024 < 0.7 * 2 * side * side * 4  # of 537 MB; the interpreter and its libraries take 150
