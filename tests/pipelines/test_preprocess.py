"""The look of LIVECell: what every image must have afterwards, whatever microscope it came from."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import median_filter
from typer.testing import CliRunner

from celltable import synthetic
from celltable.cli import build
from celltable.errors import CelltableError
from celltable.imagefile import open_release
from celltable.pipelines.preprocess import LIVECELL_PIXEL_UM, like_livecell, preprocess


def scene(seed: int, size: tuple[int, int] = (200, 260)) -> Any:
    return synthetic.generate("phase-contrast", size=size, cells=25, seed=seed).pixels


def by_the_rule(image: Any, factor: float) -> Any:
    """Apply the released rule step by step: scaled median, area means, clipping, median filter, clipping."""
    brightened = image.astype(float) * (128.0 / float(np.median(image)))
    rows, columns = (overlaps(n, int(n * factor)) for n in image.shape)
    small = rows @ brightened @ columns.T / (rows.sum(1)[:, None] * columns.sum(1))
    small = np.minimum(np.maximum(small, 0), 255)
    aperture = round(75 * factor)
    aperture = aperture if aperture % 2 else aperture + 1
    background = median_filter(np.floor(small), size=aperture, mode="nearest")
    even = small / background * 128
    return np.floor(np.where(even > 180, 180, np.where(even < 70, 70, even)))


def overlaps(many: int, few: int) -> Any:
    """Compute how much of each narrow pixel each wider pixel covers."""
    step = many / few
    return np.array(
        [[max(0.0, min((i + 1) * step, k + 1) - max(i * step, k)) for k in range(many)] for i in range(few)]
    )


@pytest.mark.parametrize(("magnification", "factor"), [(10, 1.0), (20, 0.5), (40, 0.25), (16, 0.625)])
def test_the_look_is_that_of_the_released_rule(magnification: float, factor: float) -> None:
    size = round(52 / factor), round(60 / factor)
    light = 1 + 0.5 * np.linspace(-1, 1, size[1])[None, :] ** 2
    noise = np.random.default_rng(1).normal(0, 3, size)  # no value so near .5 that rounding decides
    image = np.clip(scene(3, size) * light + noise, 1, 255)
    spot = round(6 / factor)
    image[:spot, :spot], image[-spot:, -spot:] = 30, 255
    expected = by_the_rule(image, factor)
    assert {70, 180} <= set(np.unique(expected).tolist())
    assert np.array_equal(like_livecell(image, magnification=magnification), expected)


def test_fluorescence_is_inverted_first() -> None:
    bright = np.zeros((50, 60), np.uint8)
    bright[20:30, 30:40] = 101
    assert (like_livecell(bright, fluorescence=True) == by_the_rule((255 - bright.astype(float)) / 2, 1.0)).all()
    deep = bright.astype(np.uint16) * 20
    assert (like_livecell(deep, fluorescence=True)[20:30, 30:40] == 70).all()
    with pytest.raises(CelltableError, match="--fluorescence"):
        like_livecell(bright)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 50), st.floats(0.2, 60.0), st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_the_look_does_not_depend_on_exposure_or_bit_depth(seed: int, gain: float, kind: Any) -> None:
    plain = scene(seed, (110, 130)).astype(np.float64)
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
        ("twice", {"magnification": -20.0}, "the magnification is -20.0x; expected a positive number"),
        ("twice", {"magnification": 20.0, "pixel_size_um": 0.5}, "expected only one of them"),
        ("nowhere", {}, "nowhere"),
    ]
    for folder, options, words in requests:
        with pytest.raises(CelltableError, match=words):
            preprocess(tmp_path / folder, tmp_path / "out", **options)
    before = (tmp_path / "twice" / "a.tif").read_bytes()
    with pytest.raises(CelltableError, match="is the input folder"):
        preprocess(tmp_path / "twice", tmp_path / "twice")
    assert (tmp_path / "twice" / "a.tif").read_bytes() == before


@pytest.mark.real
def test_the_images_of_livecell_already_have_the_look(sample: Callable[[str], Path]) -> None:
    with open_release(sample("livecell/LIVECell_dataset_2021/images.zip")) as release:
        images = [release.read_pixels(e) for e in release.entries if e.name.endswith(".tif")][::9]
    for image in images:
        look = like_livecell(image)
        assert np.median(look) == 128
        assert np.abs(look.astype(float) - np.clip(image, 70, 180)).mean() < 0.2


def test_masks_beside_the_images_can_be_left_out_by_name(tmp_path: Path) -> None:
    for name in ("images/a.tif", "images/b c.tif", "masks/a.tif"):
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, scene(0, (40, 40)))
    made = preprocess(tmp_path / "mine", tmp_path / "out", only=("images/*",))
    assert [p.relative_to(tmp_path / "out").as_posix() for p in made] == ["images/a.tif", "images/b c.tif"]
    with pytest.raises(CelltableError, match=r"none of 3 images is named like pictures/\*; the first is images/a.tif"):
        preprocess(tmp_path / "mine", tmp_path / "no", only=("pictures/*",))


def test_the_command_says_when_the_scale_is_unknown(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", scene(0, (40, 40)))
    arguments = ["preprocess", str(tmp_path), str(tmp_path.with_name("out"))]
    result = CliRunner().invoke(build(["preprocess", "get"]), arguments)
    assert "1 image like livecell\nnot rescaled, taken to be 10x" in result.output
    result = CliRunner().invoke(build(["preprocess", "get"]), [*arguments, "--magnification", "20"])
    assert "1 image like livecell\n" in result.output
    assert "taken as" not in result.output
