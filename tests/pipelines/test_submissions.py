"""Kaggle's own files through the command line: sample submissions byte for byte, label tables from masks."""

from __future__ import annotations

import base64
import csv
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from celltable import cli, plugins

Celltable = Callable[..., str]
HPA = "hpa-single-cell-image-classification"


@pytest.fixture
def celltable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Celltable:
    """Run a command that must succeed in an empty folder; return what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["celltable", *map(str, arguments)])
        status: object = None
        try:
            cli.main()
        except SystemExit as exc:
            status = exc.code
        said = capsys.readouterr()
        assert not status, said.err
        return said.out

    return run


def runs_of(mask: NDArray[np.bool_]) -> str:
    """Encode by the Kaggle rule, from its text alone: pixels count from 1 down, then right; start, length."""
    columns = np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return ""
    first, last = int(columns[0]), int(columns[-1]) + 1  # there is nothing to the left and right
    line = np.concatenate([[0], mask[:, first:last].T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(line)) + first * mask.shape[0]
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(edges[::2], edges[1::2], strict=True))


def pixels_of(runs: str, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode by the same rule, one pixel at a time."""
    plane = np.zeros(size, bool)
    numbers = list(map(int, runs.split()))
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        for k in range(start - 1, start - 1 + length):
            plane[k % size[0], k // size[0]] = True
    return plane


def rows_of_masks(archive: Path) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield (image id, mask) of each mask file of a stage1_train.zip."""
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            parts = name.split("/")
            if name.endswith(".png") and parts[-2] == "masks" and "__MACOSX" not in parts:
                yield parts[-3], imagecodecs.png_decode(files.read(name)) > 0


def rows_of_csv(path: Path) -> Counter[tuple[str, str]]:
    with path.open(newline="") as stream:
        return Counter((row["ImageId"], row["EncodedPixels"]) for row in csv.DictReader(stream))


def test_the_labels_table_made_of_the_masks_is_the_published_one(celltable: Celltable, tmp_path: Path) -> None:
    root = plugins.load("datasets", "dsb2018").example(tmp_path / "release", 5)
    published = (root / "stage1_train_labels.csv").read_text()
    (root / "stage1_train_labels.csv").unlink()  # so that only the masks are left
    celltable("ingest", "dsb2018", root, "bowl.celltable", "--part", "stage1_train")
    celltable("export", "bowl.celltable", "--to", "dsb-csv", "-O", "table=labels", "labels.csv")
    found = rows_of_csv(tmp_path / "labels.csv")
    assert sorted((tmp_path / "labels.csv").read_text().splitlines()) == sorted(published.splitlines())
    masks = list(rows_of_masks(root / "stage1_train.zip"))
    assert found == Counter((image_id, runs_of(mask)) for image_id, mask in masks)
    decoded = Counter((i, pixels_of(runs, masks_size(masks, i)).tobytes()) for i, runs in found.elements())
    assert decoded == Counter((i, mask.tobytes()) for i, mask in masks)


def masks_size(masks: list[tuple[str, NDArray[np.bool_]]], image_id: str) -> tuple[int, int]:
    height, width = next(mask.shape for i, mask in masks if i == image_id)
    return int(height), int(width)


@pytest.mark.real
@pytest.mark.slow
def test_the_labels_table_of_all_real_masks_is_what_an_independent_encoder_writes(
    celltable: Celltable, sample: Callable[[str], Path], tmp_path: Path
) -> None:
    archive = sample("dsb2018/stage1_train.zip")
    celltable("ingest", "dsb2018", archive, "bowl.celltable")
    celltable("export", "bowl.celltable", "--to", "dsb-csv", "-O", "table=labels", "labels.csv")
    found = rows_of_csv(tmp_path / "labels.csv")
    assert found.total() == 29_461
    assert len({image_id for image_id, _ in found}) == 670
    assert found == Counter((image_id, runs_of(mask)) for image_id, mask in rows_of_masks(archive))


@pytest.mark.parametrize(
    ("sample_of", "table"),
    [
        ("stage1_sample_submission", "stage1_solution"),
        ("stage2_sample_submission_final", "stage2_solution_final"),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_sample_submission_of_the_bowl_comes_out_byte_for_byte(
    celltable: Celltable, tmp_path: Path, sample_of: str, table: str, backwards: bool
) -> None:
    root = plugins.load("datasets", "dsb2018").example(tmp_path / "release", 6)
    ids = sorted({image_id for image_id, _ in rows_of_csv(root / f"{table}.csv")}, reverse=backwards)
    path = tmp_path / f"{sample_of}.csv"
    path.write_bytes(b"ImageId,EncodedPixels\n" + b"".join(f"{i},1 1\n".encode() for i in ids))
    celltable("ingest", "dsb2018", root, "bowl.celltable")
    celltable("import", "dsb-csv", path, "sub.celltable", "--images", "bowl.celltable")
    order = ("-O", f"like={path}") if backwards else ()
    celltable("export", "sub.celltable", "--to", "dsb-csv", "-O", "table=submission", *order, "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def packed(mask: NDArray[Any]) -> str:
    """Pack a mask as in the HPA competition's own example."""
    counts = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return base64.b64encode(zlib.compress(counts, zlib.Z_BEST_COMPRESSION)).decode()


@pytest.mark.parametrize("backwards", [False, True])
def test_a_submission_to_the_atlas_comes_out_byte_for_byte(
    celltable: Celltable, tmp_path: Path, backwards: bool
) -> None:
    disc = np.hypot(*np.mgrid[-20:28, -30:34]) < 12
    rows = [
        f"0040581b-f1f2-4fbe-b043-b6bfea5404bb,64,48,16 0.75 {packed(disc)} 0 0.5 {packed(disc)} 18 1 {packed(~disc)}",
        "004a270d-34a2-4d60-bbe4-365fca868193,2048,2048,0 1 eNoLCAgIMAEABJkBdQ==",
        f"00537262-883c-4b37-a3a1-a4931b6faea5,64,48,7 0.0625 {packed(disc)}",
    ]
    text = "\n".join(["ID,ImageWidth,ImageHeight,PredictionString", *(rows[::-1] if backwards else rows), ""])
    path = tmp_path / "submission.csv"
    path.write_bytes(text.encode())
    celltable("import", "hpa-submission", path, "sub.celltable")
    order = ("-O", f"like={path}") if backwards else ()
    celltable("export", "sub.celltable", "--to", "hpa-submission", *order, "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_the_sample_submission_of_a_generated_release_comes_out_byte_for_byte(
    celltable: Celltable, tmp_path: Path
) -> None:
    path = plugins.load("datasets", "hpa_single_cell").example(tmp_path / "release", 2) / "sample_submission.csv"
    celltable("import", "hpa-submission", path, "sub.celltable")
    celltable("export", "sub.celltable", "--to", "hpa-submission", "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


@pytest.mark.real
def test_the_published_sample_submission_of_the_atlas_comes_out_byte_for_byte(
    celltable: Celltable, sample: Callable[[str], Path], tmp_path: Path
) -> None:
    path = sample(f"hpa/{HPA}/sample_submission.csv")
    assert "559 images" in celltable("import", "hpa-submission", path, "sub.celltable")
    celltable("export", "sub.celltable", "--to", "hpa-submission", "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()
