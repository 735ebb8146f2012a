"""Samples: a number of each value, the same for the same seed, with a report of what was left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pytest

from celltable import plugins, schema
from celltable.errors import CelltableError
from celltable.pipelines.check import check
from celltable.pipelines.ingest import ingest
from celltable.pipelines.repair import repair, undo
from celltable.pipelines.sample import drawn, sample
from celltable.store import Store, open_store, with_columns
from celltable.store.edits import apply_rows, to_json


@pytest.fixture(scope="module")
def pannuke(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("pannuke")
    found = plugins.load("datasets", "pannuke").example(folder / "release", 5)
    return ingest("pannuke", found or folder / "release", folder / "s")


@pytest.mark.parametrize("n", [1, 4, 10_000])
def test_each_class_has_as_many_cells_as_requested_or_all_of_them(tmp_path: Path, pannuke: Store, n: int) -> None:
    there = Counter(pannuke.columns("class_name")["class_name"].to_pylist())
    store = sample(pannuke, tmp_path / "s", n=n)
    found = Counter(store.columns("class_name")["class_name"].to_pylist())
    assert found == {c: min(n, k) for c, k in there.items()}
    assert drawn(store, "class", "cells") == dict(sorted(found.items()))
    for image_id in store:
        cells, before = store[image_id].instances, pannuke[image_id].instances
        assert set(zip(cells.ids.tolist(), cells.rle, strict=True)) <= set(
            zip(before.ids.tolist(), before.rle, strict=True)
        )
        was = pannuke.image(image_id).exhaustive
        assert store.image(image_id).exhaustive == (was and len(cells) == len(before))
        assert (store[image_id].pixels == pannuke[image_id].pixels).all()
    assert 0 not in store.images["n_instances"].to_pylist()


def test_the_seed_decides_and_nothing_else(tmp_path: Path, pannuke: Store) -> None:
    def keys(name: str, seed: int) -> set[tuple[str, int]]:
        table = sample(pannuke, tmp_path / name, n=3, seed=seed).columns("image_id", "instance_id")
        return set(zip(table["image_id"].to_pylist(), table["instance_id"].to_pylist(), strict=True))

    first = keys("a", 1)
    assert first == keys("b", 1)
    assert any(first != keys(f"c{seed}", seed) for seed in (2, 3, 4))
    files = ("images.parquet", "instances.parquet", "dataset.json")
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_whole_images_are_drawn_until_each_value_has_enough(tmp_path: Path, pannuke: Store) -> None:
    there = Counter(pannuke.images["tissue"].to_pylist())
    store = sample(pannuke, tmp_path / "s", per="tissue", n=2, what="images")
    assert Counter(store.images["tissue"].to_pylist()) == {t: min(2, k) for t, k in there.items()}
    assert all(list(store[i].instances.rle) == list(pannuke[i].instances.rle) for i in store)
    assert [store.image(i).exhaustive for i in store] == [pannuke.image(i).exhaustive for i in store]
    by_class = sample(pannuke, tmp_path / "c", n=2, what="images")
    had = drawn(pannuke, "class", "images")
    assert all(n >= min(2, had[c]) for c, n in drawn(by_class, "class", "images").items())
    assert len(by_class) <= 2 * len(had)


@pytest.mark.parametrize("what", ["cells", "images"])
def test_pixels_that_a_store_holds_itself_are_found_from_its_sample(
    tmp_path: Path, what: Literal["cells", "images"]
) -> None:
    found = plugins.load("datasets", "tnbc").example(tmp_path / "release", 5)
    store = ingest("tnbc", found or tmp_path / "release", tmp_path / "s", copy=True)
    drawn_store = sample(store, tmp_path / "d", n=2, what=what)
    assert all((drawn_store[i].pixels == store[i].pixels).all() for i in drawn_store)


def test_a_sample_of_nothing_or_of_an_unknown_column_is_refused(tmp_path: Path, pannuke: Store) -> None:
    requests: list[tuple[dict[str, Any], str]] = [
        ({"per": "tisue"}, "No column of the images is called 'tisue'"),
        ({"per": "label"}, "labels belong to images"),
        ({"per": "label", "what": "images"}, "has no images with a label"),
        ({"n": 0}, "0 cells per class"),
    ]
    for options, words in requests:
        with pytest.raises(CelltableError, match=words):
            sample(pannuke, tmp_path / "s", **options)
    with pytest.raises(CelltableError, match="is the store that is read"):
        sample(pannuke, pannuke.path, overwrite=True)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("name", ["tnbc", "bbbc020"])
@pytest.mark.parametrize("what", ["cells", "images"])
def test_edits_of_what_is_drawn_go_along_and_can_be_taken_back(tmp_path: Path, name: str, what: Any) -> None:
    found = plugins.load("datasets", name).example(tmp_path / "release", 2)
    source = ingest(name, found or tmp_path / "release", tmp_path / "s")
    published = {(r["image_id"], r["instance_id"]): r for r in source.instances.arrow.to_pylist()}
    if name == "bbbc020":  # nuclei with parents; not all of them are drawn
        edited = _flagged(source)
    else:
        edited = repair(source, rules=("fill-holes", "drop-specks")).edits
    n = len(published) // 2 if what == "cells" else len(open_store(source.path)) - 1
    store = sample(source, tmp_path / "d", per="dataset", n=n, what=what)
    keys = {(r["image_id"], r["instance_id"]) for r in store.instances.arrow.to_pylist()}
    rows = edited.to_pylist()
    ours = [
        e for e in rows if (e["image_id"] in store if what == "images" else (e["image_id"], e["instance_id"]) in keys)
    ]
    assert len(store.edits) == len(ours) > 0
    left = f"; {len(rows) - len(ours):,} edits of what was not drawn stay with s"
    assert store.info["history"][-1].endswith(left if len(ours) < len(rows) else "per dataset, seed 0")
    undo(store)
    back = open_store(store.path).instances.arrow.to_pylist()
    assert len(back) >= len(keys)
    for row in back:
        key = row["image_id"], row["instance_id"]
        parent = published[key]["parent"]
        assert row == {**published[key], "parent": parent if (row["image_id"], parent) in keys else None}
    assert len(open_store(store.path).edits) == 0


def _flagged(store: Store) -> pa.Table:
    """Edit every cell: what was not to be ignored is, and so on."""
    rows = store.instances.arrow.to_pylist()
    edits = [
        {
            "edit_id": k + 1,
            "batch": 1,
            "image_id": row["image_id"],
            "instance_id": row["instance_id"],
            "action": "replace",
            "repair": "flag",
            "reason": "a test",
            "before": to_json(row),
            "after": to_json({**row, "ignore": not row["ignore"]}),
        }
        for k, row in enumerate(rows)
    ]
    table = pa.Table.from_pylist(edits, schema=schema.EDITS)
    store.update({"instances": apply_rows(store.instances.arrow, table.to_pylist()), "edits": table})
    return table


def test_findings_of_cells_that_were_not_drawn_stay_behind(tmp_path: Path, pannuke: Store) -> None:
    check(pannuke, rules=("cut-by-border", "speck"))
    source = open_store(pannuke.path)
    store = sample(source, tmp_path / "s", n=2)
    keys = set(zip(*(store.columns(c)[c].to_pylist() for c in ("image_id", "instance_id")), strict=True))
    found = {(f["image_id"], f["instance_id"]) for f in store.findings.arrow.to_pylist()}
    assert {k for k in found if k[1] is not None} <= keys
    had = [(f["image_id"], f["instance_id"]) for f in source.findings.arrow.to_pylist()]
    assert len(store.findings) == sum(k in keys or (k[0] in store and k[1] is None) for k in had) < len(had)


def test_images_without_a_value_are_drawn_under_a_name_that_says_so(tmp_path: Path) -> None:
    source = ingest("tnbc", plugins.load("datasets", "tnbc").example(tmp_path / "r", 0), tmp_path / "a")
    assert set(drawn(source, "cell_type", "cells")) == {"(no cell type)"}
    assert set(drawn(source, "cell_type", "images")) == {"(no cell type)"}
    part = {"metadata": [[("scanner", "A")], *[[] for _ in range(len(source) - 1)]]}
    marked = source.update({"images": with_columns(source.images.arrow, part)})
    assert drawn(marked, "scanner", "images") == {"(no scanner)": len(source) - 1, "A": 1}
