"""Generated images: their ground truth is exact, and finding it from the pixels is a real task."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from celltable.errors import InputError
from celltable.synthetic import LOOKS, MIN_AREA, Scene, child_seeds, generate, scenes, variants

SIZES = st.one_of(st.sampled_from([(1, 1), (1, 9), (8, 200), (200, 8), (3, 2)]), st.tuples(*[st.integers(1, 90)] * 2))


def digest(scene: Scene) -> str:
    parts = [scene.pixels, scene.label_map, *(mask.crop for mask in scene.masks)]
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def grey(scene: Scene) -> NDArray[Any]:
    """Return the brightness that a cell changes: nuclear dye of four channels, red absorbed by haematoxylin."""
    pixels = scene.pixels.astype(float)
    if scene.look == "four-channel":
        return pixels[..., 2]
    return pixels[..., 0] if pixels.ndim == 3 else pixels


def touching_pairs(label_map: NDArray[Any]) -> int:
    pairs = set()
    for a, b in ((label_map[1:], label_map[:-1]), (label_map[:, 1:], label_map[:, :-1])):
        meet = (a != b) & (a > 0) & (b > 0)
        pairs |= {(min(p), max(p)) for p in zip(a[meet].tolist(), b[meet].tolist(), strict=True)}
    return len(pairs)


@pytest.mark.parametrize("look", LOOKS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_bytes(look: str) -> None:
    first, again, other = (generate(look, size=(96, 120), cells=12, seed=seed) for seed in (5, 5, 6))
    assert digest(first) == digest(again)
    assert digest(first) != digest(other)
    assert not np.array_equal(first.label_map, other.label_map)


@pytest.mark.parametrize("look", LOOKS)
def test_a_default_scene_contains_nearly_all_the_requested_cells(look: str) -> None:
    scene = generate(look, seed=2)
    assert scene.pixels.shape[:2] == (256, 256)
    assert 32 <= len(scene.masks) <= 40


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("look", LOOKS)
@settings(max_examples=12, deadline=None)
@given(size=SIZES, cells=st.integers(0, 14), seed=st.integers(0, 2**62), deep=st.booleans())
def test_truth_is_consistent_at_any_size(
    look: str, overlap: bool, size: tuple[int, int], cells: int, seed: int, deep: bool
) -> None:
    dtype = "uint16" if deep else "uint8"
    scene = generate(look, size=size, cells=cells, seed=seed, dtype=dtype, overlap=overlap)
    assert scene.pixels.dtype == dtype
    assert scene.pixels.shape[:2] == size == scene.size == scene.label_map.shape
    assert scene.pixels.size == size[0] * size[1] * len(scene.channel_names)
    assert scene.pixels.max() <= (4095 if deep else 255)
    n = len(scene.masks)
    assert n <= cells
    assert sorted(set(scene.label_map.ravel().tolist()) - {0}) == list(range(1, n + 1))
    assert len(scene.classes) == len(scene.class_sets) == n
    assert set(scene.labels) == {name for names in scene.class_sets for name in names}
    union = np.zeros(size, bool)
    for number, mask in enumerate(scene.masks, 1):
        full = mask.full(size)
        union |= full
        assert mask.area == full.sum() >= MIN_AREA
        assert mask.crop[:, 0].any()
        assert mask.crop[:, -1].any()
        assert mask.crop[0].any()
        assert mask.crop[-1].any()
        own = scene.label_map == number
        assert (own & ~full).sum() == 0 if overlap else np.array_equal(own, full)
    assert np.array_equal(union, scene.label_map > 0) or overlap


@pytest.mark.parametrize("look", LOOKS)
def test_each_mask_is_one_connected_part(look: str) -> None:
    from scipy.ndimage import label

    for seed in range(3):
        for mask in generate(look, seed=seed, size=(160, 160)).masks:
            assert label(mask.crop)[1] == 1


@pytest.mark.parametrize("look", ["fluorescence", "bright-field", "histology", "four-channel"])
def test_masks_lie_on_their_cells(look: str) -> None:
    sign = 1 if look in ("fluorescence", "four-channel") else -1
    for seed in range(4):
        scene = generate(look, seed=seed, noise=0, blur=0, cells=20)
        image = sign * grey(scene)
        truth = scene.label_map if scene.nuclei_label_map is None else scene.nuclei_label_map
        ground = np.median(image[truth == 0])
        means = np.array([image[truth == k].mean() for k in range(1, int(truth.max()) + 1)])
        assert (means > ground).mean() > 0.97
        shifted = np.roll(truth, (17, 23), (0, 1))  # the same outlines in the wrong place explain far less
        assert image[truth > 0].mean() - image[truth == 0].mean() > 2 * (
            image[shifted > 0].mean() - image[shifted == 0].mean()
        )


def test_masks_in_phase_contrast_cover_the_texture_and_the_rims() -> None:
    for variant in variants("phase-contrast"):
        scene = generate("phase-contrast", seed=3, variant=variant, noise=0, size=(300, 300))
        inside, outside = (scene.pixels[scene.label_map > 0], scene.pixels[scene.label_map == 0])
        assert inside.std() > 1.5 * outside.std()
        assert abs(float(np.median(outside)) - 128) < 8


@pytest.mark.parametrize("look", LOOKS)
def test_cells_touch_and_more_of_them_on_request(look: str) -> None:
    apart, together = (
        sum(touching_pairs(generate(look, seed=s, touching=t, cells=30).label_map) for s in range(4)) for t in (0, 1)
    )
    assert together > apart
    assert together >= 20


@pytest.mark.parametrize("look", LOOKS)
def test_overlapping_cells_share_pixels_only_on_request(look: str) -> None:
    stacked, flat = (generate(look, seed=1, overlap=o, touching=1.0) for o in (True, False))
    shared = [sum(m.area for m in s.masks) - np.count_nonzero(s.label_map) for s in (stacked, flat)]
    assert shared[0] > 50
    assert shared[1] == 0


def test_nuclei_carry_their_cells_ids_and_stay_inside() -> None:
    scene = generate("four-channel", seed=4)
    assert scene.nuclei_label_map is not None
    assert len(scene.nuclei) == len(scene.masks) > 20
    inside = scene.nuclei_label_map > 0
    assert np.array_equal(scene.nuclei_label_map[inside], scene.label_map[inside])
    for number, nucleus in enumerate(scene.nuclei, 1):
        assert np.array_equal(nucleus.full(scene.size), scene.nuclei_label_map == number)


@pytest.mark.parametrize(
    ("location", "where"),
    [("Nucleoplasm", "nucleus"), ("Nuclear bodies", "nucleus"), ("Cytosol", "body"), ("Mitochondria", "body")],
)
def test_the_protein_is_brightest_where_its_label_says(location: str, where: str) -> None:
    scene = generate("four-channel", seed=7, variant=location, noise=0, blur=0, cells=12)
    assert scene.labels == (location,)
    assert scene.nuclei_label_map is not None
    green = scene.pixels[..., 1].astype(float)
    nucleus = green[scene.nuclei_label_map > 0].mean()
    body = green[(scene.label_map > 0) & (scene.nuclei_label_map == 0)].mean()
    assert nucleus > 2 * body if where == "nucleus" else body > 2 * nucleus


def test_every_location_looks_different() -> None:
    greens = [generate("four-channel", seed=1, variant=v, cells=8).pixels[..., 1] for v in variants("four-channel")[1:]]
    assert len({green.tobytes() for green in greens}) == 19


def test_an_image_label_need_not_apply_to_every_cell() -> None:
    many = [s for s in scenes("four-channel", 12, seed=3, size=(128, 128), cells=10) if len(s.labels) > 1]
    assert many
    assert any(len(set(s.class_sets)) > 1 for s in many)


def test_tissue_holds_all_five_classes_of_nuclei_and_inflammatory_ones_are_smaller_and_darker() -> None:
    drawn = list(scenes("histology", 8, seed=1, cells=50))
    assert {name for s in drawn for name in s.labels} == {
        "neoplastic", "inflammatory", "connective", "dead", "epithelial"
    }  # fmt: skip
    area: dict[str, list[int]] = {}
    light: dict[str, list[float]] = {}
    for s in drawn:
        for k, (mask, name) in enumerate(zip(s.masks, s.classes, strict=True), 1):
            area.setdefault(name, []).append(mask.area)
            light.setdefault(name, []).append(float(s.pixels[..., 0][s.label_map == k].mean()))
    assert np.median(area["neoplastic"]) > 2 * np.median(area["inflammatory"])
    assert np.median(light["inflammatory"]) < np.median(light["neoplastic"])


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_noise_is_what_separates_two_exposures_of_one_scene(noise: float) -> None:
    clean = generate("bright-field", seed=2, noise=0, variant="bare", cells=0).pixels.astype(float)
    seen = generate("bright-field", seed=2, noise=noise, variant="bare", cells=0).pixels.astype(float)
    expected = noise * np.sqrt(clean.mean() / 255 / 9000) * 255  # shot noise of 9,000 electrons at full well
    assert (seen - clean).std() == pytest.approx(expected, abs=0.35)


def test_otsu_finds_much_of_the_fluorescence_scenes_but_far_from_all() -> None:
    from scipy.ndimage import gaussian_filter, label
    from skimage.filters import threshold_otsu

    found, truth, intersection, union = 0, 0, 0, 0
    for scene in scenes("fluorescence", 8, seed=11):
        smooth = gaussian_filter(scene.pixels.astype(float), 1)
        mask = smooth > float(threshold_otsu(smooth))  # type: ignore[no-untyped-call]
        parts, _ = label(mask)
        intersection += int(np.count_nonzero(mask & (scene.label_map > 0)))
        union += int(np.count_nonzero(mask | (scene.label_map > 0)))
        truth += len(scene.masks)
        for k in range(1, len(scene.masks) + 1):
            own = scene.label_map == k
            hit = parts[own][parts[own] > 0]
            if hit.size:
                part = parts == np.bincount(hit).argmax()
                found += int(np.count_nonzero(part & own) > 0.5 * np.count_nonzero(part | own))
    assert 0.45 < intersection / union < 0.95  # foreground
    assert 0.15 < found / truth < 0.8  # cells at IoU 0.5


def test_a_series_is_independent_of_its_length_and_of_its_neighbours() -> None:
    short, long = (list(scenes("phase-contrast", n, seed=9, size=(40, 40), cells=5)) for n in (2, 3))
    assert [digest(s) for s in short] == [digest(s) for s in long[:2]]
    assert len({digest(s) for s in long}) == 3
    assert child_seeds(9, 3)[:2] == child_seeds(9, 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"look": "electron"}, "No look is called 'electron'"),
        ({"size": (0, 5)}, "each at least 1"),
        ({"cells": -1}, "expected 0 or more"),
        ({"dtype": "float32"}, "uint8 or uint16"),
        ({"variant": "brain"}, "has no variant 'brain'"),
        ({"touching": 1.5}, "expected 0 to 1"),
        ({"noise": -1.0}, "expected 0 to 1"),
        ({"seed": -1}, "whole number from 0"),
    ],
)
def test_a_request_that_cannot_be_drawn_says_what_to_ask_for(wrong: dict[str, object], message: str) -> None:
    ask: dict[str, object] = {"look": "fluorescence", "size": (20, 20), **wrong}
    with pytest.raises(InputError, match=message):
        generate(**ask)  # type: ignore[arg-type]
