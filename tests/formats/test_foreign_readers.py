"""What celltable writes means the same to others: each format is decoded by its own rules, without celltable.

A round trip cannot see an error that writer and reader share, such as exchanged axes; these decoders can. They use
numpy, Pillow, tifffile, scipy, pycocotools and the standard library alone.
"""

from __future__ import annotations

import csv
import dataclasses
import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage

from celltable import plugins
from celltable.cells import Sample
from celltable.plugins import losses as kinds
from celltable.plugins.format import ConversionReport, Format
from celltable.testing.corpus import corpus

from . import decoders
from .test_real_samples import RELEASES, Find, _read

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2

PLUGINS: dict[str, Format] = {n: f for n, f in plugins.load_all("formats").items() if f.write is not None}
DECODED = [m.name.replace("_", "-") for m in pkgutil.iter_modules(decoders.__path__)]
LABEL_MAPS = [n for n in DECODED if "overlap" not in PLUGINS[n].keeps]
ONE_RING = [n for n in DECODED if n not in LABEL_MAPS and PLUGINS[n].limits.one_part]
SEPARATE = [n for n in DECODED if n not in (*LABEL_MAPS, *ONE_RING)]
WITH_PICTURES = [n for n in DECODED if "pixels" in PLUGINS[n].keeps and n not in ("hf-parquet", "ome-zarr")]  # no files
SOURCES = ("corpus", "dsb2018", "kumar", "tnbc", "livecell", "pannuke")


@pytest.fixture(
    scope="module", params=[s if s == "corpus" else pytest.param(s, marks=pytest.mark.real) for s in SOURCES]
)
def samples(request: pytest.FixtureRequest, sample: Find) -> list[Sample]:
    """Cells numbered from 1 with classes of PanNuke, drawn as masks alone: what was published as polygon is not."""
    if request.param == "corpus":
        found = [s for s in corpus() if s.image.image_id in ("a-plain", "c-holes-parts", "d-overlap")]
    else:
        found = list(_read(request.param, sample(RELEASES[request.param].path)))
    return [_plain(s) for s in found if len(s.instances)]


def _plain(whole: Sample) -> Sample:
    full = np.flatnonzero(np.asarray(whole.instances.area) > 0)
    cells = whole.instances.take(full)
    names = [("Neoplastic", "Connective", "Epithelial")[k % 3] for k in range(len(cells))]
    numbers = np.arange(1, len(cells) + 1, dtype=np.int32)
    cells = cells.with_columns(
        polygon=None, published_area=None, published_bbox=None, class_name=names, instance_id=numbers, parent=None
    )
    return dataclasses.replace(whole, instances=cells)


def written(form: str, samples: list[Sample], folder: Path, **options: Any) -> tuple[Path, ConversionReport]:
    plugin: Format = plugins.load("formats", form)
    out = folder / ("out" + "".join(plugin.extensions[:1]))
    assert plugin.write is not None
    return out, plugin.write(iter(samples), out, **options)


def decoder(form: str) -> Callable[[Path, list[Sample]], Any]:
    """Return the decoder of a format: `decode` in the file of its name."""
    found: Callable[[Path, list[Sample]], Any] = import_module(f"{decoders.__name__}.{form.replace('-', '_')}").decode
    return found


def last_wins(sample: Sample) -> NDArray[np.int64]:
    """Paint a label map without any library: later cells over earlier ones."""
    painted = np.zeros(sample.image.size, np.int64)
    for k, mask in enumerate(sample.instances.masks()):
        painted[mask] = k + 1
    return painted


# Label maps ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", LABEL_MAPS)
def test_label_maps_hold_the_cell_that_was_painted_last(form: str, samples: list[Sample], tmp_path: Path) -> None:
    out, _ = written(form, samples, tmp_path)
    maps = decoder(form)(out, samples)
    assert set(maps) == {s.image.image_id for s in samples}
    for s in samples:
        np.testing.assert_array_equal(maps[s.image.image_id], last_wins(s))


# Separate masks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", SEPARATE)
def test_each_cell_has_its_own_mask_with_holes_and_parts(form: str, samples: list[Sample], tmp_path: Path) -> None:
    out, _ = written(form, samples, tmp_path)
    masks = decoder(form)(out, samples)
    assert set(masks) == {s.image.image_id for s in samples}
    for s in samples:
        assert len(masks[s.image.image_id]) == len(s.instances)
        for found, mask in zip(masks[s.image.image_id], s.instances.masks(), strict=True):
            np.testing.assert_array_equal(found, mask)


# One ring per cell ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ONE_RING)
def test_one_ring_per_cell_keeps_its_largest_part_and_counts_filled_holes(
    form: str, samples: list[Sample], tmp_path: Path
) -> None:
    out, loss = written(form, samples, tmp_path)
    masks = decoder(form)(out, samples)
    filled = 0
    for s in samples:
        for found, mask in zip(masks[s.image.image_id], s.instances.masks(), strict=True):
            parts, n = ndimage.label(mask)
            largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])) if n > 1 else mask
            filled += not np.array_equal(found, largest)
            assert np.array_equal(found, largest) or np.array_equal(found, ndimage.binary_fill_holes(largest))
    assert loss.items[kinds.HOLES] == filled


# Images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", WITH_PICTURES)
def test_pillow_opens_the_pictures_and_sees_the_same_values(form: str, samples: list[Sample], tmp_path: Path) -> None:
    out, loss = written(form, samples, tmp_path)
    assert kinds.PIXELS not in loss.items
    assert kinds.PIXELS_CHANGED not in loss.items
    pictures = {p.stem: p for p in out.rglob("*") if p.suffix in (".png", ".tif") and p.parent.name not in ("masks",)}
    for s in samples:
        found, expected = np.array(Picture.open(pictures[s.image.image_id])), s.pixels()
        np.testing.assert_array_equal(found, expected[..., 0] if expected.shape[2:] == (1,) else expected)


# Classes in channels and colours -------------------------------------------------------------------------------------

CHANNELS = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")


def test_pannuke_arrays_have_one_channel_per_class_and_the_background_last(
    samples: list[Sample], tmp_path: Path
) -> None:
    same = [s for s in samples if s.image.size == samples[0].image.size]
    out, _ = written("pannuke-npy", same, tmp_path)
    masks = np.load(next(out.rglob("masks.npy")), allow_pickle=False)
    assert masks.dtype == np.dtype("<f8")
    assert masks.shape == (len(same), *same[0].image.size, 6)
    for s, found in zip(same, masks, strict=True):
        for channel, name in enumerate(CHANNELS):
            painted = np.zeros(s.image.size)
            for k, (mask, own) in enumerate(zip(s.instances.masks(), s.instances.column("class_name"), strict=True)):
                if own == name:
                    painted[mask] = k + 1
            np.testing.assert_array_equal(found[..., channel], painted)
        np.testing.assert_array_equal(found[..., 5] > 0, ~(found[..., :5] > 0).any(axis=-1))


def test_the_colours_of_imagemask_are_those_of_the_published_generator(samples: list[Sample], tmp_path: Path) -> None:
    colours = {"Neoplastic": (0, 255, 0), "Connective": (255, 0, 0), "Epithelial": (255, 255, 0)}  # version 1
    out, _ = written("image-mask-png", samples, tmp_path)
    with (out / "ids.csv").open(newline="") as file:
        places = {row[2]: (row[0], row[1]) for row in list(csv.reader(file))[1:]}
    for s in samples:
        number, part = places[s.image.image_id]
        found = np.array(Picture.open(out / part / "masks" / f"{number}.png").convert("RGB"))
        expected = np.zeros((*s.image.size, 3), np.uint8)
        for mask, name in zip(s.instances.masks(), s.instances.column("class_name"), strict=True):
            expected[mask] = colours[name]
        np.testing.assert_array_equal(found, expected)


def test_every_format_that_is_written_is_decoded_here() -> None:
    by_hand = {"pannuke-npy", "image-mask-png"}  # above: their classes are channels and colours
    read = {name for name, form in PLUGINS.items() if form.read is not None}  # others: COCO in their own layouts
    assert read - by_hand == set(DECODED)
