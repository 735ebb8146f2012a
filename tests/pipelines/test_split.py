"""Splits of stores: the certificate counted again by brute force, official parts, nested subsets, and what is kept."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from celltable import plugins
from celltable.cli import build
from celltable.errors import CelltableError
from celltable.geometry.fingerprint import NEAR_BITS, perceptual_hash
from celltable.pipelines.ingest import ingest
from celltable.pipelines.merge import merge
from celltable.pipelines.split import split, write_certificate
from celltable.splits import Certificate
from celltable.store import Store, open_store, with_columns, write_store


def ingested(name: str, folder: Path, seed: int = 1) -> Store:
    found = plugins.load("datasets", name).example(folder / f"{name}-release", seed)
    return ingest(name, found or folder / f"{name}-release", folder / name)


def parts_of(path: Path) -> dict[str, str]:
    images = open_store(path).images
    rows = zip(images["image_id"].to_pylist(), images["split"].to_pylist(), strict=True)
    return {i: part for i, part in rows if part is not None}


def count_again(card: Certificate, store: Store) -> None:
    """Recompute every number of the certificate from the tables and pixels."""
    parts = parts_of(store.path)
    records = {i: store.image(i) for i in parts}
    assert card.images == dict(Counter(parts.values()))
    assert card.cells == {p: sum(len(store[i].instances) for i in parts if parts[i] == p) for p in card.images}
    groups = {i: r.leakage_group or i for i, r in records.items()}
    assert card.groups == {p: len({groups[i] for i in parts if parts[i] == p}) for p in card.images}
    shared = {groups[a] for a, b in combinations(parts, 2) if groups[a] == groups[b] and parts[a] != parts[b]}
    assert {g.removeprefix("image ") for g in card.shared_groups} == shared
    hashes = {i: perceptual_hash(store[i].pixels) for i in parts}
    near = [
        (a, b, (hashes[a] ^ hashes[b]).bit_count())
        for a, b in combinations(sorted(parts), 2)
        if parts[a] != parts[b] and hashes[a] and hashes[b] and (hashes[a] ^ hashes[b]).bit_count() <= NEAR_BITS
    ]
    assert [tuple(pair) for pair in card.near_duplicates or []] == near
    lines = "".join(f"{i}\t{p}\n" for i, p in sorted(parts.items()))
    assert card.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert card.clean == (not shared and not near)


@pytest.mark.parametrize("name", ["tnbc", "pannuke", "livecell", "bbbc039"])
def test_the_certificate_agrees_with_a_recount(tmp_path: Path, name: str) -> None:
    store = ingested(name, tmp_path)
    card = split(store, test=0.4, seed=3)
    assert card.clean
    count_again(card, open_store(store.path))
    assert open_store(store.path).info["split"] == json.loads(json.dumps(card.to_dict()))
    write_certificate(card, tmp_path / "card.json", store)
    file = json.loads((tmp_path / "card.json").read_text())
    assert file["assignment"] == parts_of(store.path)


def test_the_three_published_rotations_of_pannuke(tmp_path: Path) -> None:
    store = ingested("pannuke", tmp_path)
    fold = dict(zip(store, store.images["split"].to_pylist(), strict=True))
    # PanNuke's README: train/validate/test on folds 1/2/3, 2/1/3, 3/2/1.
    rotations = {"split1": (1, 2, 3), "split2": (2, 1, 3), "split3": (3, 2, 1)}
    for name, (train, val, test) in rotations.items():
        meaning = {f"fold{train}": "train", f"fold{val}": "val", f"fold{test}": "test"}
        card = split(open_store(store.path), official=name)
        assert parts_of(store.path) == {i: meaning[f] for i, f in fold.items()}
        count_again(card, open_store(store.path))
    split(open_store(store.path), official="published")
    assert parts_of(store.path) == fold


def test_the_published_split_survives_others_and_is_never_invented(tmp_path: Path) -> None:
    store = ingested("livecell", tmp_path)
    had = dict(zip(store, store.images["split"].to_pylist(), strict=True))
    for seed in (0, 1):
        split(open_store(store.path), test=0.5, seed=seed, stratify=())
    split(open_store(store.path), official="published")
    assert parts_of(store.path) == had
    bare = ingested("tnbc", tmp_path)
    assert bare.images["split"].null_count == len(bare)
    for seed in (0, 1):
        split(open_store(bare.path), test=0.5, seed=seed)
        with pytest.raises(CelltableError, match="have no published part"):
            split(open_store(bare.path), official="published")
    merged = merge([open_store(bare.path), ingested("kumar", tmp_path)], tmp_path / "m", similarity=False)
    split(merged, test=0.5, similarity=False)
    kept = [dict(m).get("published_split") for m in open_store(merged.path).images["metadata"].to_pylist()]
    assert not any(kept[i] for i, name in enumerate(merged) if name.startswith("tnbc/"))


def test_unlabelled_images_without_a_published_part_get_none(tmp_path: Path) -> None:
    store = ingested("isbi2009", tmp_path)
    images = store.images.arrow
    names = [f"part {k % 2}" for k in range(len(store))]
    for last_is_labelled in (True, False):
        flags = [True] * (len(store) - 1) + [last_is_labelled]
        changed = with_columns(images, {"split": [*names[:-1], None], "annotated": flags})
        now = store.fresh().update({"images": changed})
        if last_is_labelled:
            with pytest.raises(CelltableError, match="1 of .* images of isbi2009 have no published part"):
                split(now, official="published")
        else:
            card = split(now, official="published", similarity=False)
            assert sum(card.images.values()) == len(store) - 1 == len(parts_of(store.path))


def test_subsets_contain_each_other_and_are_of_train(tmp_path: Path) -> None:
    store = ingested("bbbc039", tmp_path)
    split(store, test=0.25, subsets=(25, 50, 100), similarity=False)
    found = open_store(store.path)
    train = {i for i, p in parts_of(store.path).items() if p == "train"}
    sets = {}
    for percent in (25, 50, 100):
        sql = f"select image_id from images where cast(metadata['subset'] as double) <= {percent}"
        sets[percent] = set(found.query(sql)["image_id"].to_pylist())
        assert len(sets[percent]) == max(1, round(len(train) * percent / 100))
    assert sets[25] <= sets[50] <= sets[100] == train


def test_folds_and_only_some_images(tmp_path: Path) -> None:
    store = ingested("isbi2009", tmp_path)
    types = store.images["dataset"].to_pylist()
    kind = Counter(types).most_common(1)[0][0]
    split(store, kfold=2, only={"dataset": kind}, stratify=(), similarity=False)
    parts = parts_of(store.path)
    assert set(parts) == {i for i, t in zip(store, types, strict=True) if t == kind}
    assert set(parts.values()) == {"fold1", "fold2"}


def test_only_some_images_are_split_and_the_others_keep_parts_and_subsets(tmp_path: Path) -> None:
    first, second = ingested("tnbc", tmp_path), ingested("kumar", tmp_path)
    path = merge([first, second], tmp_path / "both", similarity=False).path
    split(path, test=0.5, subsets=(100,), stratify=("dataset",), similarity=False)
    before, subsets = parts_of(path), subsets_of(path)
    card = split(path, kfold=2, only={"dataset": "TNBC"}, stratify=(), seed=5)
    after = parts_of(path)
    assert {i for i in after if after[i] != before[i]} == {i for i in before if i.startswith("tnbc/")}
    assert {i: p for i, p in before.items() if i.startswith("kumar/")}.items() < after.items()
    assert subsets_of(path) == {i: s for i, s in subsets.items() if i.startswith("kumar/")} != {}
    assert card.kept == dict(Counter(p for i, p in before.items() if i.startswith("kumar/")))
    count_again(card, open_store(path))
    assert open_store(path).info["history"][-1] == "split: 2 folds, seed 5, only dataset=TNBC"


def test_a_group_shared_with_images_that_keep_their_part_is_on_the_certificate(tmp_path: Path) -> None:
    store = ingested("livecell", tmp_path)
    images = store.images.arrow.slice(0, 4)
    rows = {"split": ["val", "train", None, None], "leakage_group": ["a", "b", "a", "c"]}
    ids = images.column("image_id").to_pylist()
    with_groups = with_columns(images, rows)
    cells = store.instances.arrow
    cells = cells.filter(pc.is_in(cells.column("image_id"), pa.array(ids)))
    path = write_store(tmp_path / "four.celltable", store.info, with_groups, cells).path
    card = split(path, test=1.0, only={"split": "none"}, similarity=False, stratify=())
    assert parts_of(path) == dict(zip(ids, ("val", "train", "test", "test"), strict=True))
    assert (card.clean, card.shared_groups) == (False, ["a"])
    split(path, official="published", only={"split": "train"}, similarity=False, stratify=())
    assert parts_of(path) == dict(zip(ids, ("val", "train", "test", "test"), strict=True))
    kept = [dict(m).get("published_split") for m in open_store(path).images["metadata"].to_pylist()]
    assert kept == ["val", "train", None, None]


def subsets_of(path: Path) -> dict[str, str]:
    images = open_store(path).images
    rows = zip(images["image_id"].to_pylist(), images["metadata"].to_pylist(), strict=True)
    found = {i: dict(m or ()).get("subset") for i, m in rows}
    return {i: s for i, s in found.items() if s is not None}


def test_an_impossible_request_leaves_the_store_unchanged(tmp_path: Path) -> None:
    store = ingested("tnbc", tmp_path)
    before = {p.name: p.read_bytes() for p in store.path.iterdir()}
    requests: list[tuple[dict[str, object], str]] = [
        ({"test": 0.7, "val": 0.6}, "must be positive and sum to 1"),
        (
            {"kfold": 500},
            "^fold3, fold4, fold5 and 495 more would have no images: 3 images form 2 units .* at most 2 parts",
        ),
        ({"official": "split9"}, "no official split 'split9'"),
        ({"only": {"tissue": "moon"}}, "no image to split has tissue=moon. There are: Breast."),
        ({"only": {"tisue": "x"}}, "No column of the images is called 'tisue'"),
        ({"stratify": ("tisue",)}, "No column of the images is called 'tisue'. Did you mean tissue?"),
        ({"only": {"metadata": "x"}}, "No column of the images is called 'metadata'"),
        ({"stratify": ("pixels",)}, "No column of the images is called 'pixels'"),
        ({"subsets": (120,)}, "a subset of 120 %"),
    ]
    for options, words in requests:
        with pytest.raises(CelltableError, match=words):
            split(store, similarity=False, **options)  # type: ignore[arg-type]
    assert before == {p.name: p.read_bytes() for p in store.path.iterdir()}


def test_the_command_prints_parts_subsets_and_verdict(tmp_path: Path) -> None:
    store = ingested("bbbc039", tmp_path)
    arguments = [
        "split",
        str(store.path),
        "--test",
        "0.25",
        "--subset",
        "50",
        "--certificate",
        str(tmp_path / "c.json"),
    ]
    result = CliRunner().invoke(build(["split", "sample"]), arguments)
    assert result.exit_code == 0, result.output
    assert "certificate: clean" in result.output
    assert "50 % of train" in result.output
    assert json.loads((tmp_path / "c.json").read_text())["clean"] is True


def test_strata_of_class_are_the_class_of_most_cells_of_each_image(tmp_path: Path) -> None:
    store = ingested("pannuke", tmp_path)
    card = split(store.path, test=0.34, stratify=("class",))
    parts = parts_of(store.path)
    again: dict[str, Counter[str]] = {}
    for image_id, part in parts.items():
        names = [str(n) for n in store[image_id].instances.column("class_name")]
        main = min(names, key=lambda n: (-names.count(n), n)) if names else "(no cell)"
        again.setdefault(main, Counter())[part] += 1
    assert len(again) > 1
    assert {s: {p: n for p, n in counts.items() if n} for s, counts in card.strata.items()} == again
    assert "class" not in open_store(store.path).images.arrow.column_names


def test_classes_without_groups_are_divided_in_proportion(tmp_path: Path) -> None:
    store = ingested("dsb2018", tmp_path)
    images, cells = store.images.arrow, store.instances.arrow
    ids = [i for i, n in zip(*(images.column(c).to_pylist() for c in ("image_id", "n_instances")), strict=True) if n]
    rare = set(ids[::2])
    names = ["rare" if i in rare else "common" for i in cells.column("image_id").to_pylist()]
    alone = {"leakage_group": [f"image {k}" for k in range(images.num_rows)]}
    store.update({"images": with_columns(images, alone), "instances": with_columns(cells, {"class_name": names})})
    card = split(store.path, test=0.5, stratify=("class",), similarity=False)
    for name in ("rare", "common"):
        counts = card.strata[name]
        assert abs(counts["train"] - counts["test"]) <= 1
