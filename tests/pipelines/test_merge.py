"""Merged stores: classes by file, the strictest terms, near-duplicates in one group, pixels that can still be read."""

from __future__ import annotations

import json
import shlex
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from celltable import plugins, splits, synthetic
from celltable.cells import Image, Instances, Pixels, Sample
from celltable.cli import build
from celltable.errors import CelltableError, InputError, StoreError
from celltable.pipelines.check import check
from celltable.pipelines.ingest import ingest
from celltable.pipelines.merge import NEAR, merge
from celltable.pipelines.predict import predict
from celltable.pipelines.repair import repair, undo
from celltable.pipelines.sample import sample
from celltable.pipelines.split import split
from celltable.store import Store, StoreWriter, open_store, strictest


def ingested(name: str, folder: Path, seed: int, **options: Any) -> Store:
    release = folder / f"{name}-release"
    found = plugins.load("datasets", name).example(release, seed)
    return ingest(name, found or release, folder / f"{name}.celltable", **options)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    folder = tmp_path_factory.mktemp("sets")
    return [ingested("pannuke", folder, 1), ingested("tnbc", folder, 2, copy=True)]


def small(path: Path, name: str, pixels: dict[str, Any], classes: dict[str, list[str]], **info: Any) -> Store:
    with StoreWriter(path, {"made": name}) as writer:
        (writer.extra / "pixels").mkdir()
        for image_id, array in pixels.items():
            np.save(writer.extra / "pixels" / f"{image_id}.npy", array)
            names = classes.get(image_id, [])
            masks = [np.eye(array.shape[0], array.shape[1], k) for k in range(len(names))]
            cells = Instances.from_masks(masks, array.shape[:2], class_name=names)
            image = Image(image_id, array.shape[0], array.shape[1], (Pixels("", f"pixels/{image_id}.npy"),), name)
            writer.append(Sample(image, cells))
        return writer.finish({"name": name, "licence": "CC0", "sources": {}, **info})


def test_a_merged_store_holds_every_image_and_cell_and_finds_every_pixel(tmp_path: Path, stores: list[Store]) -> None:
    merged = merge(stores, tmp_path / "m")
    assert list(merged) == sorted(f"{s.name}/{i}" for s in stores for i in s)
    for s in stores:
        for i in s:
            assert (merged[f"{s.name}/{i}"].pixels == s[i].pixels).all()
            assert list(merged[f"{s.name}/{i}"].instances.rle) == list(s[i].instances.rle)
    assert "non-commercial" not in merged.info["licence"]
    assert merged.info["licence"] == "CC BY-NC-SA 4.0 (the strictest, of pannuke)"
    assert merged.info["non_commercial"] is True
    assert all(str(s.info["citation"]) in merged.info["citation"] for s in stores)


def test_pixels_are_found_after_everything_was_moved_together(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "sets").mkdir(parents=True)
    sets = [ingested("tnbc", home / "sets", 1, copy=True), ingested("kumar", home / "sets", 2)]
    expected = {f"{s.name}/{i}": s[i].pixels for s in sets for i in s}
    merge(sets, home / "m")
    sample(home / "m", home / "sets" / "drawn", per="dataset", n=2, what="images")
    shutil.move(home, tmp_path / "moved")
    for path in ("m", "sets/drawn"):
        store = open_store(tmp_path / "moved" / path)
        assert all((store[i].pixels == expected[i]).all() for i in store)


def test_look_alikes_that_a_store_already_lists_are_counted_once(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)
    first = small(tmp_path / "a", "a", {"one": picture, "two": picture}, {})
    second = small(tmp_path / "b", "b", {"three": picture.T.copy()}, {})
    check(first, rules=(NEAR,))
    assert open_store(first.path).findings["rule"].to_pylist() == [NEAR]
    merged = merge([first, second], tmp_path / "m")
    assert merged.findings["rule"].to_pylist() == [NEAR]
    assert "a/one" in merged.findings["message"][0].as_py()
    kept = merge([first, second], tmp_path / "n", similarity=False)
    assert kept.findings["rule"].to_pylist() == [NEAR]


def test_repairs_go_along_and_taking_them_back_gives_what_merging_before_would(tmp_path: Path) -> None:
    sets = [ingested("pannuke", tmp_path, 1), ingested("tnbc", tmp_path, 2)]
    classes = {"Neoplastic": "tumour", "Connective": "tumour"}
    before = merge(sets, tmp_path / "before", classes=classes, unmapped="drop", similarity=False)
    repair(sets[0], rules=("drop-duplicates",))
    repair(sets[0], rules=("drop-specks",))
    repair(sets[1], rules=("fill-holes", "drop-specks"))
    repaired = [open_store(s.path) for s in sets]
    merged = merge(repaired, tmp_path / "m", classes=classes, unmapped="drop", similarity=False)
    assert len(merged.edits) == sum(len(s.edits) for s in repaired)
    assert merged.edits["edit_id"].to_pylist() == list(range(1, len(merged.edits) + 1))
    assert sorted(set(merged.edits["batch"].to_pylist())) == [1, 2, 3]
    assert "edits of tnbc: batch 1 is batch 3 here" in merged.info["history"]
    assert not merged.instances.arrow.equals(before.instances.arrow)
    for left in (2, 1, 0):
        undo(merged)
        assert len(set(open_store(merged.path).edits["batch"].to_pylist())) == left
    assert open_store(merged.path).instances.arrow.equals(before.instances.arrow)


@pytest.mark.parametrize("form", ["mapping", "toml", "json"])
def test_classes_are_renamed_as_the_file_says(tmp_path: Path, stores: list[Store], form: str) -> None:
    rules = {"pannuke:Neoplastic": "tumour", "Inflammatory": "immune"}
    file: Any = rules
    if form == "toml":
        file = tmp_path / "c.toml"
        file.write_text("".join(f'"{k}" = "{v}"\n' for k, v in rules.items()))
    elif form == "json":
        file = tmp_path / "c.json"
        file.write_text(json.dumps(rules))
    had = Counter(stores[0].columns("class_name")["class_name"].to_pylist())
    kept = merge(stores, tmp_path / "kept", classes=file, similarity=False)
    found = Counter(kept.columns("class_name")["class_name"].to_pylist())
    assert found["tumour"] == had["Neoplastic"] > 0
    assert found["immune"] == had["Inflammatory"] > 0
    assert found["Connective"] == had["Connective"] > 0
    assert set(kept.info["classes"]) == {c for c in found if c}
    dropped = merge(stores, tmp_path / "dropped", classes=file, unmapped="drop", similarity=False)
    found = Counter(dropped.columns("class_name")["class_name"].to_pylist())
    assert set(found) == {"tumour", "immune", None}
    assert found.total() == sum(len(s.columns("area")) for s in stores)
    with pytest.raises(InputError, match=r"the class 'Connective' of pannuke .* is not in the mapping"):
        merge(stores, tmp_path / "refused", classes=file, unmapped="refuse", similarity=False)
    assert not (tmp_path / "refused").exists()


def test_a_rule_for_one_data_set_comes_before_the_rule_for_all(tmp_path: Path) -> None:
    flat = {"i": np.zeros((8, 8), np.uint8)}
    a = small(tmp_path / "a", "a", flat, {"i": ["x", "y"]})
    b = small(tmp_path / "b", "b", flat, {"i": ["x"]})
    merged = merge([a, b], tmp_path / "m", classes={"x": "other", "a:x": "mine", "y": "mine"})
    assert merged["a/i"].instances.column("class_name") == ["mine", "mine"]
    assert merged["b/i"].instances.column("class_name") == ["other"]


def test_several_classes_of_a_cell_are_renamed_together_and_listed_once(tmp_path: Path) -> None:
    store = small(tmp_path / "a", "a", {"i": np.zeros((8, 8), np.uint8)}, {"i": ["x", "y"]})
    cells = store.instances.arrow
    at = cells.schema.get_field_index("class_names")
    cells = cells.set_column(at, cells.schema.field(at), pa.array([["x", "z"], ["y", "x"]], pa.list_(pa.string())))
    store = store.update({"instances": cells})
    other = small(tmp_path / "b", "b", {"i": np.zeros((8, 8), np.uint8)}, {})
    merged = merge([store, other], tmp_path / "m", classes={"x": "n", "z": "n"}, unmapped="drop")
    found = merged["a/i"].instances
    assert (found.column("class_names"), found.column("class_name")) == ([["n"], ["n"]], ["n", "n"])


def test_look_alikes_across_sets_are_found_and_never_split(tmp_path: Path) -> None:
    scenes = synthetic.scenes("histology", 12, size=(96, 96), cells=15, seed=4)
    images = [s.pixels for s in scenes]
    brighter = np.clip(images[3].astype(int) + 9, 0, 255).astype(np.uint8)
    a = small(tmp_path / "a", "a", {f"i{k}": p for k, p in enumerate(images[:6])}, {})
    b = small(tmp_path / "b", "b", {"again": brighter, **{f"j{k}": p for k, p in enumerate(images[6:])}}, {})
    merged = merge([a, b], tmp_path / "m")
    near = merged.findings.arrow.filter(pa.compute.equal(merged.findings["rule"], NEAR)).to_pylist()
    assert [(f["image_id"], "a/i3" in f["message"]) for f in near] == [("b/again", True)]
    assert merged.image("a/i3").leakage_group == merged.image("b/again").leakage_group is not None
    assert merged.image("a/i3").group_source == "derived"
    for seed in range(5):
        parts = splits.grouped(merged.images.arrow, {"train": 0.5, "test": 0.5}, seed=seed)
        assert parts["a/i3"] == parts["b/again"]
    apart = merge([a, b], tmp_path / "n", similarity=False)
    assert apart.image("a/i3").leakage_group is None


def test_an_unreadable_image_is_a_finding_and_the_rest_is_merged(tmp_path: Path) -> None:
    arrays = {n: np.random.default_rng(k).integers(0, 255, (40, 40)).astype(np.uint8) for k, n in enumerate("pq")}
    a, b = small(tmp_path / "a", "a", arrays, {}), small(tmp_path / "b", "b", {"r": arrays["p"]}, {})
    (a.path / "pixels" / "q.npy").write_bytes(b"not an array")
    merged = merge([a, b], tmp_path / "m")
    found = {(f["rule"], f["image_id"]) for f in merged.findings.to_pylist()}
    assert found == {("unreadable-image", "a/q"), (NEAR, "b/r")}
    card = split(merged, test=0.5)
    assert card.images.keys() == {"train", "test"}


def test_two_parts_of_one_data_set_go_by_the_names_of_their_folders(tmp_path: Path) -> None:
    flat = {"i": np.zeros((8, 8), np.uint8)}
    parts = [small(tmp_path / f"{n}.celltable", "dsb", flat, {"i": ["x"]}) for n in ("stage1", "stage2")]
    merged = merge(parts, tmp_path / "m", classes={"dsb:x": "nucleus"})
    assert list(merged) == ["stage1/i", "stage2/i"]
    assert set(merged.columns("class_name")["class_name"].to_pylist()) == {"nucleus"}


@pytest.mark.parametrize(
    ("licences", "worst"),
    [
        (["CC0 1.0", "CC BY 4.0"], "CC BY 4.0"),
        (["CC BY 4.0", "CC BY-NC 4.0", "CC BY-SA 4.0"], "CC BY-NC 4.0"),
        (["CC BY-NC-SA 4.0", "CC BY-NC 4.0"], "CC BY-NC-SA 4.0"),
        (["CC BY-NC-ND 4.0", ""], "not stated"),
        (["MIT", "Apache 2.0", "CC0"], "Apache 2.0"),
        (["competition rules", "CC BY-NC-ND 4.0"], "competition rules"),
    ],
)
def test_the_strictest_licence_is_named(licences: list[str], worst: str) -> None:
    named = {f"s{k}": text for k, text in enumerate(licences)}
    label = next(name for name, text in named.items() if (text or "not stated") == worst)
    backwards = dict(reversed(named.items()))
    assert strictest(named) == strictest(backwards) == f"{worst} (the strictest, of {label})"


def test_requests_that_make_no_sense_end_in_one_sentence(tmp_path: Path) -> None:
    flat = {"i": np.zeros((8, 8), np.uint8)}
    a = small(tmp_path / "a", "a", flat, {"i": ["Neoplastic"]})
    b = small(tmp_path / "b", "b", flat, {})
    (tmp_path / "list.json").write_text('["a"]')
    (tmp_path / "bad.toml").write_text("a = ")
    predictions = predict(a, tmp_path / "p")
    requests: list[tuple[list[Store], dict[str, Any], str]] = [
        ([a], {}, "two or more stores"),
        ([a, a], {}, "two of the stores are called 'a'.*rename one"),
        ([b, predictions], {}, "stores of the same kind; found annotations and predictions"),
        ([a, b], {"classes": {"Neoplasic": "t"}}, "'Neoplasic', which no store has. Did you mean 'Neoplastic'"),
        ([a, b], {"classes": tmp_path / "list.json"}, "expected old class → new class"),
        ([a, b], {"classes": tmp_path / "bad.toml"}, "expected a TOML or JSON file"),
        ([a, b], {"classes": tmp_path / "none.toml"}, "old class → new class; No such file or directory"),
    ]
    for these, options, words in requests:
        with pytest.raises(CelltableError, match=words):
            merge(these, tmp_path / "m", **options)
        assert not (tmp_path / "m").exists()
    with pytest.raises(StoreError, match="is the store that is read"):
        merge([a, b], a.path, overwrite=True)
    assert replace(a.image("i"), ignore=True).ignore  # the store is still whole


def test_the_command_names_every_licence_and_how_to_look_at_the_duplicates(tmp_path: Path) -> None:
    picture = {"i": np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)}
    stores = [small(tmp_path / name, name, picture, {}) for name in ("a", "b")]
    out = tmp_path / "both of them.celltable"
    arguments = ["merge", *(str(s.path) for s in stores), "-o", str(out)]
    result = CliRunner().invoke(build(["merge", "query"]), arguments)
    assert result.exit_code == 0, result.output
    assert "1 near-duplicate pair\n" in result.output
    each = next(line for line in result.output.splitlines() if line.startswith("licences: "))
    assert "a: " in each
    assert "; b: " in each
    command = next(line for line in result.output.splitlines() if line.startswith("see them: "))
    again = CliRunner().invoke(build(["merge", "query"]), shlex.split(command)[3:])
    assert "a/i" in again.output
    assert "b/i" in again.output
