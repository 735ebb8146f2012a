"""dataset.json: it round-trips, keeps unknown keys, explains damage, and passes on what it should."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from celltable import schema
from celltable.cells import Image, Instances, Pixels, Sample
from celltable.errors import StoreError
from celltable.store import Description, Source, Store, StoreWriter, derive, open_store

FULL = Description(
    name="toy", title="Toy", licence="CC0", non_commercial=True, citation="A. Author", doi="10.1/x", source="https://x",
    modality=("fluorescence",), target=("nucleus",), classes=("b", "a"), channels=("dna",), protocols=("ap_dsb2018",),
    leakage_group="plate", published_counts=(("train", "images", 2),), reader={"name": "toy", "parts": []},
    split={"parts": {"train": 1}}, sources={"toy:a.zip": Source(path="/there/a.zip", size=3, sha256="ab")},
    history=("made by hand",),
)  # fmt: skip


def write(path: Path, description: Description = FULL) -> Store:
    image = Image("i", 4, 4, pixels=(Pixels("", "pixels/i.npy"),), dataset="toy")
    with StoreWriter(path, {}) as writer:
        writer.append(Sample(image, Instances.empty((4, 4))))
        return writer.finish(description)


def test_every_field_comes_back(tmp_path: Path) -> None:
    back = write(tmp_path / "s").description
    for field in set(Description.__struct_fields__) - {"generation", "content", "cells", "before", "tables", "overlay"}:
        assert getattr(back, field) == getattr(FULL, field), field


def test_keys_of_a_newer_version_or_a_user_survive_a_rewrite(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    path = store.path / "dataset.json"
    values = json.loads(path.read_text())
    values["plate_map"] = {"A1": [1, 2]}
    values["sources"]["toy:a.zip"]["mirror"] = "https://y"
    path.write_text(json.dumps(values))
    open_store(store.path).update({"findings": schema.empty("findings")}, {"note": "x"}, done="looked")
    after = json.loads(path.read_text())
    assert after["plate_map"] == {"A1": [1, 2]}
    assert after["note"] == "x"
    assert after["sources"]["toy:a.zip"]["mirror"] == "https://y"
    assert after["history"] == ["made by hand", "looked"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", 5, "classes: expected array, found int"),
        ("sources", {"a": {"path": 4}}, "path: expected str, found int"),
        ("kind", "drawings", "kind: invalid enum value 'drawings'"),
        ("history", {}, "history: expected array, found object"),
    ],
)
def test_a_damaged_description_says_what_is_wrong(tmp_path: Path, key: str, value: object, message: str) -> None:
    path = write(tmp_path / "s").path
    values = json.loads((path / "dataset.json").read_text())
    (path / "dataset.json").write_text(json.dumps({**values, key: value}))
    with pytest.raises(StoreError, match=message):
        open_store(path)


def test_a_store_made_from_another_inherits_terms_history_and_users_keys(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    store = write(tmp_path / "a" / "s").update({}, {"note": "x"})
    made = derive(store, tmp_path / "out", done="drawn", own="from")
    assert (made.licence, made.non_commercial, made.classes, made.leakage_group) == ("CC0", True, ("b", "a"), "plate")
    assert made.history == ("made by hand", "drawn")
    assert made.extra == {"note": "x"}
    assert (made.split, made.published_counts, made.tables) == ({}, (), {})  # they are about the whole data set
    assert made.sources["from"].relative == "a/s"  # the folder with the pixel copies that the new store refers to
    assert made.sources["toy:a.zip"].path == "/there/a.zip"


def test_classes_that_only_cells_have_follow_those_of_the_description(tmp_path: Path) -> None:
    mask = np.eye(4, dtype=bool)
    cells = Instances.from_masks([mask] * 3, (4, 4), class_name=["z", "a", "c"])
    with StoreWriter(tmp_path / "s", {}) as writer:
        writer.append(Sample(Image("i", 4, 4), cells))
        assert writer.finish(FULL).description.classes == ("b", "a", "c", "z")


def test_predictions_inherit_terms_but_start_a_history_of_their_own(tmp_path: Path) -> None:
    made = derive(write(tmp_path / "s"), tmp_path / "out", kind="predictions", model={"name": "m"})
    assert (made.name, made.licence, made.classes, made.citation) == ("toy", "CC0", ("b", "a"), "A. Author")
    assert (made.history, made.reader, made.kind) == ((), {}, "predictions")
