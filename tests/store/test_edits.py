"""Changes of cells: pending or written into the tables, every reader sees the same, and undo restores it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celltable import schema
from celltable.cells import Edit, Finding, Image, Instances, Sample
from celltable.errors import StoreError
from celltable.scoring.sources import StoreSource
from celltable.store import Store, StoreWriter, open_store
from celltable.store.edits import edits_table

SIZE = (12, 16)
COUNTS = [3, 0, 5, 0, 2, 4]  # cells per image; row groups of 4 rows, so that changes are at their boundaries


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celltable.store._tables.ROWS_PER_GROUP", 4)


def square(top: int, left: int, edge: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + edge, left : left + edge] = True
    return mask


def write(path: Path, counts: list[int] = COUNTS) -> Store:
    with StoreWriter(path, {}) as writer:
        for k, n in enumerate(counts):
            masks = [square(i, (3 * i + k) % 12, 3) for i in range(n)]
            cells = Instances.from_masks(masks, SIZE, class_name=["ab"[i % 2] for i in range(n)] if n else None)
            finding = (Finding("several-components", "small", image_id=f"i{k}", instance_id=1),) if n else ()
            writer.append(Sample(Image(f"i{k}", *SIZE), cells, finding))
        return writer.finish({"name": "toy"})


def one(n: int, edge: int) -> Instances:
    return Instances.from_masks([square(1, 1, edge)], SIZE, instance_id=[n], class_name=["c"])


def edit(store: Store, image_id: str, cell: int, after: Instances | None, rule: str | None = None) -> Edit:
    cells = store.instances_of(image_id)
    at = np.flatnonzero(cells.ids == cell)
    return Edit("by-hand", image_id, cell, "drawn", cells.take(at) if len(at) else None, after, rule)


def contents(store: Store) -> dict[str, object]:
    """Return everything that readers can get, in every way."""
    source = StoreSource(store)
    by_id = {i: store[i].instances for i in store}
    return {
        "images": store.images.to_pylist(),
        "instances": store.instances.to_pylist(),
        "columns": store.columns("area", "image_id").to_pylist(),
        "rows": [row for i in store for row in store.rows_of(i).to_pylist()],
        "cells": {i: (c.ids.tolist(), c.area.tolist(), list(c.rle)) for i, c in by_id.items()},
        "sides": {i: source.side(i, ("a", "b", "c")).areas.tolist() for i in store},
        "edits": [{**row, "generation": None} for row in store.edits.to_pylist()],
        "findings": [(row["image_id"], row["stale"] is None) for row in store.findings.to_pylist()],
        "classes": store.value_counts("class_name"),
        "areas": [a.tolist() for a in store.number_counts("area")],
        "n": (len(store), store.n_instances),
        "sql": store.query(
            "select image_id, n_instances, count(instance_id)::int as n, sum(area)::int as a "
            "from images left join instances using (image_id) group by 1, 2 order by 1"
        ).to_pylist(),
        "sql_edits": store.query("select count(*) as n from edits").to_pylist(),
        "sql_findings": store.query("select count(*) as n from findings where stale is null").to_pylist(),
        "content": store.content,
    }


CHANGES = st.lists(
    st.tuples(st.integers(0, len(COUNTS) - 1), st.integers(1, 7), st.sampled_from(["put", "remove", "undo"])),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(changes=CHANGES)
def test_a_pending_change_and_a_rewritten_table_read_the_same(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("edits")
    pending, rewritten = write(folder / "a"), write(folder / "b")
    for image, cell, what in changes:
        if what == "undo":
            if len(rewritten.edits):
                pending.undo(compact=False)
                rewritten.undo(compact=True)
                pending, rewritten = pending.fresh(), rewritten.fresh()
            continue
        made = edit(rewritten, f"i{image}", cell, one(cell, 2 + cell % 3) if what == "put" else None)
        if made.before is None and made.after is None:
            continue
        pending = pending.edit(edits_table([made]), compact=False)
        rewritten = rewritten.edit(edits_table([made]), compact=True)
    assert contents(pending) == contents(rewritten)
    folded = pending.compact()
    assert contents(folded) == contents(rewritten)
    for name in ("images", "instances", "edits"):
        path = Path(f"{name}.parquet")
        if (rewritten.path / path).exists():
            assert pq.read_table(folded.path / path).to_pylist() == getattr(folded, name).to_pylist()


def digests(store: Store, *names: str) -> list[str]:
    return [hashlib.sha256((store.path / name).read_bytes()).hexdigest() for name in names]


TABLES = ("images.parquet", "instances.parquet", "findings.parquet")


def test_one_changed_cell_writes_no_table_again_and_says_that_it_is_pending(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    before = digests(store, *TABLES)
    after = store.edit(edits_table([edit(store, "i2", 2, None)]), done="drawn", compact=False)
    assert digests(after, *TABLES) == before
    values = json.loads((after.path / "dataset.json").read_text())
    assert [(o["file"], o["edits"]) for o in values["overlay"]] == [("overlay/000002.parquet", 1)]
    assert pq.read_table(after.path / "overlay/000002.parquet")["instance_id"].to_pylist() == [2]
    assert len(after["i2"].instances) == 4
    folded = after.compact()
    assert not folded.description.overlay
    assert not (folded.path / "overlay").exists()
    assert pq.read_table(folded.path / "instances.parquet").num_rows == sum(COUNTS) - 1
    assert folded.content == after.content != store.content


def test_undo_restores_cells_findings_and_content(tmp_path: Path) -> None:
    for compact in (True, False):
        store = write(tmp_path / f"s{compact}")
        before = contents(store)
        store.edit(edits_table([edit(store, "i2", 1, one(1, 2))]), compact=compact)
        changed = store.fresh().edit(edits_table([edit(store.fresh(), "i2", 1, None)]), compact=compact)
        assert ("i2", False) in contents(changed)["findings"]  # type: ignore[operator]
        changed.undo(compact=compact)
        assert ("i2", False) in contents(store.fresh())["findings"]  # type: ignore[operator]
        store.fresh().undo(compact=compact)
        assert contents(store.fresh()) == before
        with pytest.raises(StoreError, match="nothing to undo"):
            store.fresh().undo()


def test_an_edit_of_a_cell_that_has_changed_in_the_meantime_is_refused(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    mine = edits_table([edit(store, "i0", 2, one(2, 2))])
    store.edit(edits_table([edit(store, "i0", 2, None)]), compact=False)
    before = contents(store.fresh())
    with pytest.raises(StoreError, match="1 cell is not as the edits expect, the first is cell 2 of image i0"):
        store.edit(mine, compact=False)
    with pytest.raises(StoreError, match="has no image 'other'"):
        store.edit(edits_table([Edit("by-hand", "other", 1, "x", None, one(1, 2))]))
    assert contents(store.fresh()) == before


def test_tables_about_cells_take_pending_changes_in_and_scores_leave_them(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    store = store.edit(edits_table([edit(store, "i0", 1, None)]), compact=False)
    scored = store.update({"scores": schema.empty("scores")})
    assert len(scored.description.overlay) == 1
    assert contents(scored) == contents(store)
    looked = scored.update({"findings": lambda old: old})
    assert not looked.description.overlay
    assert {**contents(looked), "findings": 0} == {**contents(store), "findings": 0}


def test_large_stores_are_compacted_only_when_much_is_pending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celltable.store._update.SMALL", 0)
    monkeypatch.setattr("celltable.store._update.OVERLAY_FILES", 3)
    store = write(tmp_path / "s")
    pending = []
    for cell in (1, 2, 3, 4):
        store = store.edit(edits_table([edit(store, "i2", cell, one(cell, 2))]))
        pending.append(len(store.description.overlay))
    assert pending == [1, 2, 3, 0]
    assert pq.read_table(store.path / "instances.parquet").num_rows == sum(COUNTS)
    assert store["i2"].instances.area.tolist() == [4, 4, 4, 4, 9]


def finding(rule: str, image_id: str | None, cell: int | None, generation: int | None) -> dict[str, object]:
    return {
        "image_id": image_id, "instance_id": cell, "rule": rule, "severity": "error", "message": "x",
        "generation": generation,
    }  # fmt: skip


def test_findings_are_stale_once_what_they_are_about_was_changed(tmp_path: Path) -> None:
    rows = [
        finding("hole", "i0", 1, 1),  # of the changed cell
        finding("hole", "i0", 2, 1),  # of another
        finding("overlap", "i0", 3, 1),  # of another, with the rule that the edit repairs
        finding("count-differs", "i0", None, 1),  # of the image's cells
        finding("unreadable-image", "i0", None, None),  # not of cells
        finding("overlap", "i2", 1, 1),  # of another image
        finding("stray-file", None, None, None),
    ]
    store = write(tmp_path / "s")
    store = store.update({"findings": pa.Table.from_pylist(rows, schema=schema.FINDINGS)})
    for compact in (False, True):
        changed = store.edit(edits_table([edit(store, "i0", 1, one(1, 2), rule="overlap")]), compact=compact)
        number = changed.description.number
        assert changed.findings["stale"].to_pylist() == [number, None, number, number, None, None, None]
        late = changed.update({"findings": pa.Table.from_pylist(rows, schema=schema.FINDINGS)})
        assert late.findings["stale"].to_pylist() == [number, None, number, number, None, None, None], "made before"
        again = [{**row, "generation": row["generation"] and number} for row in rows]
        checked = late.update({"findings": pa.Table.from_pylist(again, schema=schema.FINDINGS)})
        assert checked.findings["stale"].null_count == len(rows), "made on the changed cells"
        checked.undo(compact=compact)
        undone = store.fresh()
        number = undone.description.number
        assert undone.findings["stale"].to_pylist() == [number, None, number, number, None, None, None]
        store = undone.update({"findings": pa.Table.from_pylist(rows, schema=schema.FINDINGS)})


def test_changes_of_a_store_of_version_1_are_read_by_this_one(tmp_path: Path) -> None:
    import shutil

    fixture = Path(__file__).resolve().parents[1] / "fixtures" / "store_v1.celltable"
    store = open_store(shutil.copytree(fixture, tmp_path / "s"))
    assert store.generation == ""
    after = store.edit(edits_table([edit(store, "a/ä 1", 4, None)]), compact=False)
    assert after.generation.startswith("1-")
    assert after["a/ä 1"].instances.ids.tolist() == [1, 7]
    after.undo(compact=False)
    assert store.fresh()["a/ä 1"].instances.ids.tolist() == [1, 4, 7]
    assert store.fresh().content == store.content
