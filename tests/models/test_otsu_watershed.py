"""The classical baseline: polarity, stains, depths, channels, touching nuclei, odd images, and a floor on real ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from celltable.cells import Image
from celltable.errors import InputError
from celltable.models.otsu_watershed import MODEL, nucleus_signal, predict, segment

DISCS = [(20, 20, 9), (20, 60, 8), (60, 30, 12), (70, 76, 7)]


def truth(size: tuple[int, int] = (96, 96)) -> NDArray[np.int32]:
    """Draw a label map of four separate discs."""
    y, x = np.mgrid[: size[0], : size[1]]
    labels = np.zeros(size, np.int32)
    for k, (r, c, radius) in enumerate(DISCS, start=1):
        labels[(y - r) ** 2 + (x - c) ** 2 <= radius**2] = k
    return labels


def noisy(levels: NDArray[Any], sigma: float = 4.0) -> NDArray[np.uint8]:
    noise = np.random.default_rng(0).normal(0, sigma, levels.shape)
    return np.clip(levels + noise, 0, 255).astype(np.uint8)


def stained() -> NDArray[np.uint8]:
    """Draw haematoxylin in the discs and pale eosin around them, by the absorption law."""
    h, e = np.array([0.65, 0.704, 0.286]), np.array([0.072, 0.99, 0.105])
    nuclei = (truth() > 0)[..., None]
    density = np.where(nuclei, 1.0 * h, 0.12 * e)
    return noisy(255 * np.exp(-density), 2.0)


def agree(found: NDArray[Any], labels: NDArray[Any]) -> list[float]:
    """Compute the best IoU of each true label."""
    scores = []
    for k in range(1, int(labels.max()) + 1):
        mask = labels == k
        rivals = np.unique(found[mask])
        scores.append(max(float((mask & (found == r)).sum() / (mask | (found == r)).sum()) for r in rivals if r))
    return scores


IMAGES: dict[str, Callable[[], NDArray[Any]]] = {
    "dark field": lambda: noisy(20 + 120 * (truth() > 0)),
    "bright field": lambda: noisy(220 - 120 * (truth() > 0)),
    "16 bit": lambda: noisy(20 + 120 * (truth() > 0)).astype(np.uint16) * 16,
    "float": lambda: noisy(20 + 120 * (truth() > 0)) / np.float32(255),
    "RGBA of equal colours": lambda: np.dstack(
        [noisy(20 + 120 * (truth() > 0))] * 3 + [np.full((96, 96), 255, np.uint8)]
    ),
    "false colour on black": lambda: np.dstack([np.zeros((96, 96), np.uint8)] * 2 + [noisy(10 + 200 * (truth() > 0))]),
    "H&E": stained,
    "dim beside bright": lambda: noisy(10 + np.array([0, 230, 70, 230, 70])[truth()], 2.0),
    "uneven illumination": lambda: noisy(90 * (truth() > 0) + np.linspace(0, 120, 96)[None, :], 3.0),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_four_discs_are_found_in_every_kind_of_image(kind: str) -> None:
    pixels = IMAGES[kind]()
    labels = segment(*nucleus_signal(pixels))
    assert labels.max() == 4
    assert min(agree(labels, truth())) > 0.7


def test_polarity_and_stain_are_distinguished() -> None:
    fields = {kind: nucleus_signal(make())[1] for kind, make in IMAGES.items()}
    assert fields["bright field"] == "bright"
    assert fields["H&E"] == "stain"
    assert set(fields.values()) == {"dark", "bright", "stain"}


def test_touching_discs_are_divided_and_one_disc_stays_whole() -> None:
    y, x = np.mgrid[:60, :90]
    pair = ((y - 30) ** 2 + (x - 30) ** 2 <= 196) | ((y - 30) ** 2 + (x - 54) ** 2 <= 196)
    assert segment(noisy(20 + 150 * pair).astype(np.float32)).max() == 2
    assert segment(noisy(20 + 150 * ((y - 30) ** 2 + (x - 45) ** 2 <= 400)).astype(np.float32)).max() == 1


def test_the_channel_that_is_named_a_nuclear_stain_is_used() -> None:
    cells = noisy(20 + 120 * (truth() > 0))
    other = noisy(np.full((96, 96), 90.0), 30.0)
    image = Image("a", 96, 96, channels=("actin", "DAPI"))
    found = predict(np.dstack([other, cells]), image)
    assert len(found) == 4
    quartet = Image("b", 96, 96, channels=("red", "green", "blue", "yellow"))
    assert len(predict(np.dstack([other, other, cells, other]), quartet)) == 4


def test_scores_are_higher_where_contrast_is_higher() -> None:
    pixels = noisy(10 + np.array([0, 230, 80, 230, 80])[truth()], 6.0)
    cells = predict(pixels, Image("a", 96, 96))
    scores = np.asarray(cells.column("score"))
    order = [int(truth()[m].max()) for m in cells.masks()]
    assert ((scores > 0) & (scores < 1)).all()
    by_disc = dict(zip(order, scores.tolist(), strict=True))
    assert min(by_disc[1], by_disc[3]) > max(by_disc[2], by_disc[4])


@pytest.mark.parametrize("fill", [0, 7, 255])
def test_a_constant_image_has_no_cells(fill: int) -> None:
    for shape in ((32, 40), (32, 40, 3), (32, 40, 4)):
        assert len(predict(np.full(shape, fill, np.uint8), Image("a", 32, 40))) == 0


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=3, max_side=12)))
def test_any_small_image_gives_disjoint_cells_of_its_size_twice_the_same(pixels: NDArray[np.uint8]) -> None:
    image = Image("a", pixels.shape[0], pixels.shape[1])
    first, second = predict(pixels, image, min_area=1), predict(pixels, image, min_area=1)
    assert list(first.rle) == list(second.rle)
    assert first.size == image.size
    assert first.label_map().lost_pixels == 0
    assert np.isfinite(np.asarray(first.column("score"), dtype=float)).all()


@pytest.mark.parametrize("pixels", [np.zeros(4), np.zeros((0, 3)), np.zeros((2, 2, 2, 2)), np.array([["a"]])])
def test_files_that_are_not_images_are_refused(pixels: NDArray[Any]) -> None:
    with pytest.raises(InputError, match="cannot be segmented"):
        predict(pixels, Image("a", 2, 2))


def test_the_options_of_the_plug_in_are_those_of_the_function() -> None:
    assert {option.name: option.default for option in MODEL.options} == predict.__kwdefaults__


def average_precision(labels: NDArray[Any], found: NDArray[Any]) -> float:
    """Average TP / (TP + FP + FN) over IoU > 0.5, 0.55, … 0.95 by brute force."""
    n, m = int(labels.max()), int(found.max())
    joint = np.histogram2d(labels.ravel(), found.ravel(), bins=(np.arange(n + 2) - 0.5, np.arange(m + 2) - 0.5))[0]
    shared = joint[1:, 1:]
    iou = shared / (joint.sum(1)[1:, None] + joint.sum(0)[None, 1:] - shared)
    hits = [int((iou > t).sum()) for t in np.arange(0.5, 1.0, 0.05)]
    return float(np.mean([h / (n + m - h) for h in hits])) if n + m else 1.0


@pytest.mark.real
def test_the_floor_on_real_fluorescence_images_is_above_045(sample: Callable[[str], Path]) -> None:
    from PIL import Image as Pillow

    scores = []
    with zipfile.ZipFile(sample("dsb2018/stage1_train.zip")) as archive:
        names = sorted(archive.namelist())
        for name in [n for n in names if "/images/" in n and n.endswith(".png")][::40]:
            pixels = np.asarray(Pillow.open(io.BytesIO(archive.read(name))))
            if nucleus_signal(pixels)[1] != "dark":
                continue
            folder = name.split("/images/")[0] + "/masks/"
            labels = np.zeros(pixels.shape[:2], np.int32)
            for k, mask in enumerate((n for n in names if n.startswith(folder) and n.endswith(".png")), start=1):
                labels[np.asarray(Pillow.open(io.BytesIO(archive.read(mask)))) > 0] = k
            scores.append(average_precision(labels, segment(*nucleus_signal(pixels))))
    assert len(scores) > 8
    assert np.mean(scores) > 0.45
