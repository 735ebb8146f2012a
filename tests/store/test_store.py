"""The store: what is written is read back, rows are where the index says, changes are atomic, interruptions resume."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco

from celltable import schema
from celltable.cells import Finding, Image, Instances, Pixels, Sample
from celltable.errors import InputError, NotFoundError, StoreError
from celltable.geometry.masks import Masks
from celltable.store import Store, StoreWriter, open_store

SIZE = (24, 36)
INFO = {"name": "toy", "title": "Toy", "licence": "CC0", "sources": {}}


def cells(n: int, seed: int, **columns: object) -> Instances:
    rng = np.random.default_rng(seed)
    masks = np.zeros((*SIZE, max(n, 1)), np.uint8, order="F")
    for k in range(n):
        r, c = rng.integers(0, SIZE[0] - 4), rng.integers(0, SIZE[1] - 4)
        masks[r : r + 4, c : c + 3, k] = 1
    rles = coco.encode(masks)[:n]
    boxes = np.array([coco.toBbox(r) for r in rles], np.int32).reshape(n, 4)
    areas = np.array([coco.area(r) for r in rles], np.int64)
    return Instances(Masks.of([r["counts"] for r in rles], SIZE, areas, boxes), **columns)


def make_sample(name: str, n: int, seed: int = 0, **columns: object) -> Sample:
    image = Image(
        name, *SIZE, pixels=(Pixels("toy:a.zip", f"{name}.png", role="dna"),), dataset="toy", channels=("dna",),
        modality="fluorescence", labels=("a", "b") if seed % 2 else None, metadata={"z": "1", "a": "2"},
    )  # fmt: skip
    findings = (Finding("unexpected-name", "small", image_id=name, instance_id=1, value=3.0),) if n > 2 else ()
    return Sample(image, cells(n, seed, **columns), findings)


def write(path: Path, samples: list[Sample], **options: object) -> Store:
    with StoreWriter(path, {"request": 1}, **options) as writer:  # type: ignore[arg-type]
        for sample in samples[writer.done :]:
            writer.append(sample)
        return writer.finish(INFO)


@pytest.fixture
def samples() -> list[Sample]:
    return [make_sample(f"image {i:03d}", n=i % 7, seed=i) for i in range(40)]


def test_every_image_and_cell_comes_back_as_it_was_written(tmp_path: Path, samples: list[Sample]) -> None:
    store = write(tmp_path / "s.celltable", samples)
    assert list(store) == [s.image.image_id for s in samples]
    for sample in samples:
        view = store[sample.image.image_id]
        assert view.image == sample.image
        assert list(view.instances.rle) == list(sample.instances.rle)
        np.testing.assert_array_equal(view.instances.bbox, sample.instances.bbox)
        np.testing.assert_array_equal(view.instances.area, sample.instances.area)
        assert view.instances.size == SIZE


def test_columns_that_were_set_come_back_and_the_others_stay_empty(tmp_path: Path) -> None:
    sample = make_sample(
        "a", 3, class_name=["x", None, "y"], class_names=[["x", "z"], None, ["y"]], score=np.array([0.25, 1.0, 0.5]),
        crowd=[True, False, False], polygon=[b"\x01", None, b""], published_bbox=[[0.5, 1, 2, 3], None, None],
        parent=[None, 1, None],
    )  # fmt: skip
    back = write(tmp_path / "s", [sample])["a"].instances
    assert back.column("class_name") == ["x", None, "y"]
    assert back.column("class_names") == [["x", "z"], None, ["y"]]
    assert back.column("score") == [0.25, 1.0, 0.5]
    assert back.column("crowd") == [True, False, False]
    assert back.column("polygon") == [b"\x01", None, b""]
    assert back.column("parent") == [None, 1, None]
    assert back.column("published_bbox") == [[0.5, 1, 2, 3], None, None]
    assert back.annotator is None
    assert back.ignore is False


def test_values_of_a_column_are_counted_without_nulls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celltable.store._tables.ROWS_PER_GROUP", 4)
    classes = [["b", None, "a"], [None, None, None], ["a", "a", "c"], ["c", "b", "d"]]
    ds = write(tmp_path / "a", [make_sample(f"i{k}", 3, k, class_name=names) for k, names in enumerate(classes)])
    assert list(ds.value_counts("class_name").items()) == [("a", 3), ("b", 2), ("c", 2), ("d", 1)]
    assert ds.value_counts("kind") == {"nucleus": 12}
    assert ds.value_counts("annotator") == {}


def test_numbers_of_a_column_are_counted_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celltable.store._store.BATCH_ROWS", 5)
    ds = write(tmp_path / "a", [make_sample(f"i{k}", 7, k) for k in range(3)])
    for name in ("area", "instance_id", "bbox_x", "parent"):
        values, counts = ds.number_counts(name)
        expected = np.unique(ds.columns(name).column(0).drop_null().to_numpy(), return_counts=True)
        assert [values.tolist(), counts.tolist()] == [e.tolist() for e in expected]


def test_row_groups_never_cut_an_image(tmp_path: Path) -> None:
    store = write(
        tmp_path / "s",
        [make_sample(f"{i:04d}", n=int(n), seed=i) for i, n in enumerate([9, 0, 3000, 3000, 5000, 1, 0, 2500, 7])],
    )
    file = pq.ParquetFile(tmp_path / "s" / "instances.parquet")
    seen: set[str] = set()
    for g in range(file.num_row_groups):
        ids = set(file.read_row_group(g, columns=["image_id"]).column(0).to_pylist())
        assert not ids & seen
        seen |= ids
    assert file.num_row_groups == 3
    assert [len(store[i].instances) for i in store] == [9, 0, 3000, 3000, 5000, 1, 0, 2500, 7]
    assert store.columns("area").num_rows == 13517


def digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_the_same_samples_in_any_order_give_the_same_bytes(tmp_path: Path, samples: list[Sample]) -> None:
    write(tmp_path / "a", samples)
    write(tmp_path / "b", samples[::-1])
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_an_interrupted_write_goes_on_where_it_stopped(
    tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoreWriter, "PART_IMAGES", 8)
    whole = write(tmp_path / "whole", samples)
    with pytest.raises(KeyboardInterrupt), StoreWriter(tmp_path / "s", {"request": 1}) as writer:
        for sample in samples[:20]:
            writer.append(sample)
        raise KeyboardInterrupt
    assert not (tmp_path / "s").exists()
    with StoreWriter(tmp_path / "s", {"request": 1}) as writer:
        assert writer.done == 16
    write(tmp_path / "s", samples)
    assert digest(whole.path) == digest(tmp_path / "s")
    assert not (tmp_path / "s.incomplete").exists()


def test_an_interrupted_write_of_another_request_is_discarded(
    tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoreWriter, "PART_IMAGES", 8)
    with StoreWriter(tmp_path / "s", {"request": "other"}) as writer:
        for sample in samples[:20]:
            writer.append(sample)
    with StoreWriter(tmp_path / "s", {"request": 1}) as writer:
        assert writer.done == 0


def test_an_unfinished_store_says_how_to_finish_it(
    tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoreWriter, "PART_IMAGES", 8)
    with StoreWriter(tmp_path / "s", {}) as writer:
        for sample in samples[:20]:
            writer.append(sample)
    with pytest.raises(StoreError, match="run the same command again"):
        open_store(tmp_path / "s")


def test_two_writers_of_one_store_do_not_interfere(tmp_path: Path) -> None:
    with (
        StoreWriter(tmp_path / "s", {}),
        pytest.raises(StoreError, match="Another process is writing"),
        StoreWriter(tmp_path / "s", {}),
    ):
        pass


def test_an_existing_store_is_not_overwritten_unless_requested(tmp_path: Path, samples: list[Sample]) -> None:
    write(tmp_path / "s", samples)
    before = digest(tmp_path / "s")
    with pytest.raises(StoreError, match="--overwrite"):
        write(tmp_path / "s", samples[:3])
    assert digest(tmp_path / "s") == before
    assert len(write(tmp_path / "s", samples[:3], overwrite=True)) == 3


def test_a_folder_that_is_not_a_store_is_never_replaced(tmp_path: Path, samples: list[Sample]) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("words")
    with pytest.raises(StoreError, match="not a celltable store"):
        write(tmp_path / "thesis", samples, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "words"


def test_an_update_replaces_tables_and_recounts_cells(tmp_path: Path, samples: list[Sample]) -> None:
    store = write(tmp_path / "s", samples)
    kept = store.instances.arrow.filter(pa.compute.greater(store.instances["instance_id"], 1))
    new = store.update({"instances": kept}, {"note": "x"}, done="dropped the first cell of each image")
    assert new.images["n_instances"].to_pylist() == [max(0, i % 7 - 1) for i in range(40)]
    assert new.info["note"] == "x"
    assert new.info["history"] == ["dropped the first cell of each image"]
    assert [len(new[i].instances) for i in new] == [max(0, i % 7 - 1) for i in range(40)]
    assert not [p for p in tmp_path.iterdir() if p.name != "s"]


def test_an_update_that_fails_leaves_the_old_store(
    tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write(tmp_path / "s", samples)
    before = digest(tmp_path / "s")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "images.parquet")

    monkeypatch.setattr("celltable.store._update.write_table", full)
    with pytest.raises(StoreError, match="the disk is full"):
        store.update({"findings": schema.empty("findings")})
    assert digest(tmp_path / "s") == before
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_a_locked_store_is_not_updated(tmp_path: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celltable.disk.LOCK_WAIT", 0.1)
    store = write(tmp_path / "s", samples)
    handle = os.open(tmp_path / "s", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(StoreError, match="Another process is writing"):
            store.update({"findings": schema.empty("findings")})
    finally:
        os.close(handle)


def test_cells_of_unknown_images_are_refused(tmp_path: Path, samples: list[Sample]) -> None:
    store = write(tmp_path / "s", samples)
    with pytest.raises(StoreError, match="images that do not exist"):
        store.update({"images": store.images.arrow.slice(0, 5)})


def test_two_images_of_one_id_are_refused(tmp_path: Path, samples: list[Sample]) -> None:
    with pytest.raises(StoreError, match="two images have the id 'image 001'"):
        write(tmp_path / "s", [*samples, samples[1]])


def test_a_misspelt_image_gets_a_suggestion(tmp_path: Path, samples: list[Sample]) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'image 003'"):
        write(tmp_path / "s", samples)["image_003"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "found nothing"),
        (lambda p: p.mkdir(), "a folder without dataset.json"),
        (lambda p: p.write_text("x"), "is a file"),
        (lambda p: (p.mkdir(), (p / "dataset.json").write_text("{")), "is not JSON"),
        (lambda p: (p.mkdir(), (p / "dataset.json").write_text("[]")), "has no schema_version"),
        (lambda p: (p.mkdir(), (p / "dataset.json").write_text('{"schema_version": 99}')), "Upgrade celltable"),
    ],
)
def test_what_is_not_a_store_says_so_in_one_sentence(tmp_path: Path, make: object, message: str) -> None:
    make(tmp_path / "s")  # type: ignore[operator]
    with pytest.raises(StoreError, match=message):
        open_store(tmp_path / "s")


def test_a_query_joins_the_tables(tmp_path: Path, samples: list[Sample]) -> None:
    store = write(tmp_path / "s", samples)
    rows = store.query(
        "select modality, count(*) as n from instances join images using (image_id) group by 1"
    ).to_pylist()
    assert rows == [{"modality": "fluorescence", "n": sum(i % 7 for i in range(40))}]
    assert store.query("select count(*) as n from findings").to_pylist()[0]["n"] == sum(i % 7 > 2 for i in range(40))
    assert store.query("select * from scores").num_rows == 0
    with pytest.raises(InputError, match="the query failed"):
        store.query("selekt 1")


def test_missing_pixels_say_where_they_were(tmp_path: Path, samples: list[Sample]) -> None:
    info = {**INFO, "sources": {"toy:a.zip": {"path": "/nowhere/a.zip", "relative": "a.zip"}}}
    with StoreWriter(tmp_path / "s", {}) as writer:
        writer.append(samples[0])
        store = writer.finish(info)
    with pytest.raises(StoreError, match="/nowhere/a.zip"):
        store["image 000"].pixels


def test_many_threads_read_one_store(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    store = write(tmp_path / "s", [make_sample(f"{i:04d}", n=900, seed=i) for i in range(60)])
    expected = [list(store[i].instances.rle) for i in store]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            fresh = open_store(tmp_path / "s")
            assert [list(c.rle) for c in threads.map(lambda i, s=fresh: s[i].instances, list(fresh))] == expected
