"""The look of LIVECell: what every image must have afterwards, whatever microscope it came from."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from celltable import synthetic
from celltable.errors import CelltableError
from celltable.pipelines.preprocess import LIVECELL_PIXEL_UM, like_livecell, preprocess


def scene(seed: int, size: tuple[int, int] = (200, 260)) -> Any:
    return synthetic.generate("phase-contrast", size=size, cells=25, seed=seed).pixels


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.floats(0.2, 60.0), st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_the_look_does_not_depend_on_exposure_or_bit_depth(seed: int, gain: float, kind: Any) -> None:
    plain = scene(seed).astype(np.float64)
    reference = like_livecell(plain)
    assert reference.dtype == np.uint8
    assert abs(float(np.median(reference)) - 128) <= 1
    top = np.iinfo(kind).max if np.dtype(kind).kind == "u" else np.inf
    scaled = np.minimum(plain * gain, top) if kind == np.float32 else np.rint(plain * min(gain, top / 255))
    if kind == np.float32 or min(gain, top / 255) >= 1:  # fewer grey levels than before cannot be made up for
        assert np.abs(like_livecell(scaled.astype(kind)).astype(int) - reference).max() <= 3


def test_the_background_is_divided_out_and_only_then() -> None:
    flat = np.full((300, 400), 100.0) + np.random.default_rng(0).normal(0, 2, (300, 400))
    light = 1 + 0.4 * np.linspace(-1, 1, 400)[None, :]
    image = flat * light
    halves = [np.median(like_livecell(image)[:, s]) for s in (slice(60, 160), slice(-160, -60))]
    assert abs(halves[0] - halves[1]) <= 3
    kept = [np.median(like_livecell(image, background=False)[:, s]) for s in (slice(60, 160), slice(-160, -60))]
    assert kept[1] - kept[0] > 30


@pytest.mark.parametrize("pixel_um", [0.62, 1.24, 2.48])
def test_images_are_scaled_to_the_pixel_size_of_livecell(pixel_um: float) -> None:
    found = like_livecell(scene(1), pixel_size_um=pixel_um)
    assert found.shape == (round(200 * pixel_um / LIVECELL_PIXEL_UM), round(260 * pixel_um / LIVECELL_PIXEL_UM))


def test_colours_are_averaged_and_opacity_left_out() -> None:
    grey = scene(2)
    rgba = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
    assert (like_livecell(rgba) == like_livecell(grey)).all()
    assert (like_livecell(np.zeros((40, 40), np.uint8)) == 128).all()


def test_a_folder_and_its_zip_give_the_same_files(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "well ä").mkdir(parents=True)
    for k, name in enumerate(("one.tif", "well ä/two.tiff")):
        tifffile.imwrite(folder / name, scene(k, (80, 90)))
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        for name in ("one.tif", "well ä/two.tiff"):
            archive.write(folder / name, name)
    made = preprocess(folder, tmp_path / "a", pixel_size_um=1.0)
    assert [p.relative_to(tmp_path / "a").as_posix() for p in made] == ["one.tif", "well ä/two.tif"]
    again = preprocess(tmp_path / "mine.zip", tmp_path / "b", pixel_size_um=1.0, workers=1)
    assert [p.read_bytes() for p in made] == [p.read_bytes() for p in again]
    assert (tifffile.imread(made[0]) == like_livecell(scene(0, (80, 90)), pixel_size_um=1.0)).all()
    assert not list(tmp_path.rglob("*.partial"))


def test_requests_that_make_no_sense_end_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing to see")
    (tmp_path / "twice").mkdir()
    for name in ("a.tif", "a.tiff"):
        tifffile.imwrite(tmp_path / "twice" / name, scene(0, (40, 40)))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no image at all")
    requests: list[tuple[str, dict[str, Any], str]] = [
        ("empty", {}, "found none"),
        ("twice", {}, r"would both become a\.tif"),
        ("bad", {}, "x.png"),
        ("twice", {"like": "livecel"}, "No look is called 'livecel'"),
        ("twice", {"pixel_size_um": 0.0}, "expected a positive number"),
        ("nowhere", {}, "nowhere"),
    ]
    for folder, options, words in requests:
        with pytest.raises(CelltableError, match=words):
            preprocess(tmp_path / folder, tmp_path / "out", **options)
    before = (tmp_path / "twice" / "a.tif").read_bytes()
    with pytest.raises(CelltableError, match="is the folder that is read"):
        preprocess(tmp_path / "twice", tmp_path / "twice")
    assert (tmp_path / "twice" / "a.tif").read_bytes() == before
