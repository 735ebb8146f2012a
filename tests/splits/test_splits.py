"""Splits: no unit is cut, strata are balanced, subsets are nested, the certificate counts what brute force counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celltable import splits
from celltable.cells import Image, images_table
from celltable.errors import CelltableError, NotFoundError
from celltable.geometry.fingerprint import near_pairs, perceptual_hash


def table(groups: list[str | None], modality: list[str] | None = None, counts: list[int] | None = None) -> pa.Table:
    images = [
        Image(
            f"i{k:04d}",
            4,
            4,
            leakage_group=g,
            modality=(modality or ["m"] * len(groups))[k],
            metadata={"site": str(k % 3)},
        )
        for k, g in enumerate(groups)
    ]
    return images_table(zip(images, counts or [1] * len(images), strict=True))


@given(st.lists(st.integers(0, 12), min_size=1, max_size=80), st.integers(0, 5))
def test_no_group_is_cut_and_every_image_has_one_part(groups: list[int], seed: int) -> None:
    images = table([f"g{g}" for g in groups])
    parts = splits.grouped(images, {"train": 0.7, "val": 0.1, "test": 0.2}, seed=seed)
    assert set(parts) == set(images["image_id"].to_pylist())
    where = defaultdict(set)
    for image, group in zip(images["image_id"].to_pylist(), groups, strict=True):
        where[group].add(parts[image])
    assert all(len(w) == 1 for w in where.values())
    assert splits.certify(images, parts).clean


def test_every_stratum_is_divided_in_proportion() -> None:
    kinds = ["fluorescence"] * 400 + ["histology"] * 80 + ["bright-field"] * 20
    images = table([f"g{k // 2}" for k in range(500)], kinds)
    parts = splits.grouped(images, {"train": 0.8, "test": 0.2}, stratify=["modality"])
    tested = Counter(m for i, m in zip(images["image_id"].to_pylist(), kinds, strict=True) if parts[i] == "test")
    assert tested == {"fluorescence": 80, "histology": 16, "bright-field": 4}


def test_the_seed_decides_and_nothing_else() -> None:
    images = table([None] * 50)
    first = splits.grouped(images, {"train": 0.8, "test": 0.2}, seed=1)
    assert first == splits.grouped(images, {"train": 0.8, "test": 0.2}, seed=1)
    assert first != splits.grouped(images, {"train": 0.8, "test": 0.2}, seed=2)
    assert Counter(first.values()) == {"train": 40, "test": 10}


def test_look_alike_images_stay_together() -> None:
    images = table([None] * 20)
    parts = splits.grouped(images, {"train": 0.5, "test": 0.5}, near=[(0, 1), (1, 2), (2, 19)])
    assert len({parts[f"i{k:04d}"] for k in (0, 1, 2, 19)}) == 1


def test_folds_are_equal_and_disjoint() -> None:
    parts = splits.folds(table([f"g{k // 3}" for k in range(90)]), 5)
    assert Counter(parts.values()) == {f"fold{i}": 18 for i in range(1, 6)}


@given(st.integers(1, 300), st.integers(0, 3), st.integers(1, 3))
def test_subsets_contain_each_other(n: int, seed: int, kinds: int) -> None:
    ids = [f"i{k}" for k in range(n)]
    subsets = splits.nested(ids, (2, 4, 5, 25, 50), strata=[str(k % kinds) for k in range(n)], seed=seed)
    chain = [set(subsets[p]) for p in ("2", "4", "5", "25", "50")]
    assert all(a <= b for a, b in pairwise(chain))
    assert [len(c) for c in chain] == [max(1, round(n * p / 100)) for p in (2, 4, 5, 25, 50)]


def test_the_certificate_names_groups_and_look_alikes_that_straddle() -> None:
    images = table(["a", "a", "b", "c"], counts=[3, 4, 5, 6])
    parts = {"i0000": "train", "i0001": "test", "i0002": "train", "i0003": "test"}
    hashes = {"i0000": 0b1111, "i0001": 0xFFFFFFFF, "i0002": 0xF0F0F0F0F0F0, "i0003": 0xF0F0F0F0F0F1}
    card = splits.certify(images, parts, hashes=hashes)
    assert card.shared_groups == ["a"]
    assert card.near_duplicates == [("i0002", "i0003", 1)]
    assert card.cells == {"train": 8, "test": 10}
    assert not card.clean


def test_density_and_metadata_are_strata_and_a_misspelt_one_is_named() -> None:
    images = table([None] * 40, counts=list(range(40)))
    assert Counter(splits.strata_of(images, ["density"])) == {f"density {q}/4": 10 for q in range(1, 5)}
    assert set(splits.strata_of(images, ["site"])) == {"0", "1", "2"}
    with pytest.raises(NotFoundError, match="No column of the images is called 'tisue'"):
        splits.strata_of(images, ["tisue"])


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(CelltableError, match="sum to 1; found train 0.8, test 0.3"):
        splits.grouped(table([None]), {"train": 0.8, "test": 0.3})


def test_hashes_survive_brightness_scale_and_alpha_but_tell_images_apart() -> None:
    rng = np.random.default_rng(0)
    images = [np.kron(rng.random((12, 16)), np.ones((20, 20))) for _ in range(30)]
    hashes = [perceptual_hash(i) for i in images]
    assert near_pairs(hashes) == []
    for image, value in zip(images, hashes, strict=True):
        rgba = np.stack([image * 100, image * 100, image * 100, np.full_like(image, 255)], axis=-1).astype(np.uint8)
        small = image[::2, ::2] * 7 + 1
        assert bin(perceptual_hash(rgba) ^ value).count("1") <= 6
        assert bin(perceptual_hash(small) ^ value).count("1") <= 6
    assert perceptual_hash(np.ones((5, 5))) == 0


@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.integers(0, 64))
def test_near_pairs_equal_brute_force(hashes: list[int], bits: int) -> None:
    expected = [
        (i, j, bin(hashes[i] ^ hashes[j]).count("1"))
        for i in range(len(hashes)) for j in range(i + 1, len(hashes))
        if hashes[i] and hashes[j] and bin(hashes[i] ^ hashes[j]).count("1") <= bits
    ]  # fmt: skip
    assert near_pairs(np.array(hashes, np.uint64), bits) == expected


@given(st.integers(1, 70), st.integers(1, 70))
def test_any_size_has_a_hash(height: int, width: int) -> None:
    value = perceptual_hash(np.random.default_rng(0).random((height, width, 3)))
    assert 0 <= value < 2**64
