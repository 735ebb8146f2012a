"""The verbs check, repair and predict on a small store: what they write, undo, share and resume."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow

from celltable.cells import Finding, Image, Instances, Pixels, Sample
from celltable.errors import CelltableError, InputError, NotFoundError, StoreError, UnknownPluginError
from celltable.geometry import polygon
from celltable.pipelines import predict as predict_module
from celltable.pipelines.check import check
from celltable.pipelines.predict import predict
from celltable.pipelines.repair import apply_patch, export_patch, repair, undo
from celltable.store import Store, StoreWriter, open_store

SIZE = (64, 80)
Mask = NDArray[np.bool_]
POLYGON = polygon.pack([[4.5, 4.5, 20.0, 4.5, 12.0, 18.25]])


def disc(r: float, c: float, radius: float) -> Mask:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.asarray((y - r) ** 2 + (x - c) ** 2 <= radius**2)


def masks_of(seed: int) -> list[Mask]:
    """Draw cells with a hole, several parts, an overlap and a speck among clean ones."""
    speck = np.zeros(SIZE, bool)
    speck[60, 70 + seed] = True
    holed = disc(12, 12, 7) & ~disc(12, 12, 2)
    return [holed, disc(12, 34, 6) | disc(12, 44, 2), disc(40, 12, 8), disc(40, 24, 7), disc(44, 60, 8), speck]


def write(path: Path, n: int = 5) -> Store:
    pixels = path.parent / "pixels"
    pixels.mkdir(exist_ok=True)
    with StoreWriter(path, {"n": n}) as writer:
        for k in range(n):
            masks = masks_of(k)
            noise = np.random.default_rng(k).integers(0, 12, SIZE)
            levels = (20 + 120 * np.any(masks[:5], axis=0) + noise).astype(np.uint8)
            Pillow.fromarray(levels).save(pixels / f"{k}.png")
            image = Image(
                f"image {k}", *SIZE, pixels=(Pixels("toy:", f"{k}.png"),), dataset="toy", modality="fluorescence"
            )
            cells = Instances.from_masks(
                masks, SIZE, class_name="tumour", published_area=[1 / 3] * 6, polygon=[POLYGON] * 6
            )
            writer.append(Sample(image, cells, (Finding("unexpected-name", "one", "note", f"image {k}"),)))
        sources = {"toy:": {"path": str(pixels), "relative": "pixels", "size": 0, "sha256": ""}}
        return writer.finish({"name": "toy", "title": "Toy", "licence": "CC0", "sources": sources, "history": []})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return write(tmp_path / "toy.celltable")


def digest(store: Store, name: str = "instances") -> str:
    return hashlib.sha256((store.path / f"{name}.parquet").read_bytes()).hexdigest()


def rules_of(store: Store) -> set[str]:
    return set(open_store(store.path).findings.column("rule").to_pylist())


def test_check_writes_what_it_found_beside_what_the_reader_found(store: Store) -> None:
    found = check(store)
    written = open_store(store.path).findings
    assert {"hole", "several-components", "overlap", "speck", "unexpected-name"} <= rules_of(store)
    assert "unexpected-name" not in found.findings.column("rule").to_pylist()
    assert found.counts[0][1] == "error" or found.findings.column("severity").to_pylist()[0] == "warning"
    assert written.num_rows == found.findings.num_rows + 5
    again = check(store)
    assert open_store(store.path).findings.arrow.equals(written.arrow)
    assert again.findings.equals(found.findings)


def test_the_findings_are_the_same_bytes_on_any_number_of_workers(store: Store) -> None:
    check(store, workers=1)
    one = digest(store, "findings")
    check(store, workers=3)
    assert digest(store, "findings") == one


def test_only_the_rules_that_were_run_are_replaced(store: Store) -> None:
    check(store, rules=["hole"])
    assert rules_of(store) == {"hole", "unexpected-name"}
    check(store, rules=["speck"], options={"speck": {"min_px": 0, "min_share": 0}})
    assert rules_of(store) == {"hole", "unexpected-name"}


def test_without_pixels_the_checks_that_need_them_are_reported_as_skipped(store: Store, tmp_path: Path) -> None:
    (tmp_path / "pixels").rename(tmp_path / "gone")
    found = check(store, pixels=False)
    assert "probable-missed" in found.skipped
    assert "hole" in found.rules
    with pytest.raises(StoreError, match="no longer exists"):
        check(store)


def test_an_image_that_cannot_be_read_is_a_finding_and_the_rest_goes_on(store: Store, tmp_path: Path) -> None:
    (tmp_path / "pixels" / "1.png").write_bytes(b"no image")
    (tmp_path / "pixels" / "2.png").unlink()
    found = check(store).findings.to_pylist()
    trouble = [f["image_id"] for f in found if f["rule"] == "unreadable-image"]
    assert trouble == ["image 1", "image 2"]
    assert {f["image_id"] for f in found if f["rule"] == "hole"} == {f"image {k}" for k in range(5)}


def test_unknown_rules_and_options_are_refused_before_anything_is_done(store: Store) -> None:
    with pytest.raises(UnknownPluginError, match="Did you mean hole"):
        check(store, rules=["holes"])
    with pytest.raises(CelltableError, match="no option 'size'. Its options: min_px"):
        check(store, rules=["speck"], options={"speck": {"size": 1}})
    with pytest.raises(CelltableError, match="no option 'size'"):
        repair(store, rules=["speck"], options={"drop-specks": {"size": 1}})
    assert rules_of(store) == {"unexpected-name"}


def test_a_dry_run_lists_the_edits_and_writes_nothing(store: Store) -> None:
    before = digest(store)
    planned = repair(store, rules=["hole", "several-components"], dry_run=True)
    assert planned.counts == [("fill-holes", "replace", 5), ("keep-largest-component", "replace", 5)]
    assert planned.batch is None
    assert digest(store) == before
    assert open_store(store.path).edits.num_rows == 0


def test_repairs_change_the_cells_and_record_each_change_with_both_rows(store: Store) -> None:
    done = repair(store, rules=["hole", "several-components", "overlap", "speck"])
    after = open_store(store.path)
    assert done.batch == 1
    assert after.edits.num_rows == done.edits.num_rows == 20
    assert after.images.column("n_instances").to_pylist() == [5] * 5
    assert (after["image 3"].masks[0] == disc(12, 12, 7)).all()
    first = after.edits.to_pylist()[0]
    before, now = json.loads(first["before"]), json.loads(first["after"])
    assert (before["class_name"], now["class_name"]) == ("tumour", "tumour")
    assert now["area"] - before["area"] == first["value"] == disc(12, 12, 2).sum()
    assert "polygon" in before
    assert "polygon" not in now
    check(store, pixels=False)
    assert not rules_of(store) & {"hole", "several-components", "overlap", "speck"}
    assert "fill-holes" in after.info["history"][-1]


def test_undo_takes_back_one_batch_after_the_other_to_the_same_bytes(store: Store) -> None:
    states = [digest(store)]
    repair(store, rules=["fill-holes", "split-components"])
    states.append(digest(store))
    repair(store, rules=["overlap", "speck"])
    assert len({*states, digest(store)}) == 3
    undo(store.path)
    assert digest(store) == states[1]
    assert set(open_store(store.path).edits.column("batch").to_pylist()) == {1}
    undo(store.path)
    assert digest(store) == states[0]
    with pytest.raises(StoreError, match="nothing to undo"):
        undo(store.path)


def test_undo_refuses_when_a_cell_was_changed_since(store: Store) -> None:
    repair(store, rules=["hole"])
    changed = open_store(store.path)
    table = changed.instances.arrow
    names = pa.array(["other"] * table.num_rows, pa.string())
    changed.update({"instances": table.set_column(table.schema.get_field_index("class_name"), "class_name", names)})
    before = digest(changed)
    with pytest.raises(StoreError, match="5 cells are not as the edits expect"):
        undo(store.path)
    assert digest(changed) == before


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_patch_makes_another_copy_the_same_and_holds_no_pixels(tmp_path: Path, ending: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    mine, theirs = write(tmp_path / "a" / "toy.celltable"), write(tmp_path / "b" / "toy.celltable")
    original = digest(theirs)
    repair(mine, rules=["hole", "split-components", "overlap", "speck"])
    patch = tmp_path / f"patch{ending}"
    n = export_patch(mine.path, patch)
    done = apply_patch(theirs, patch)
    assert (done.edits.num_rows, done.images) == (n, 5)
    assert digest(theirs) == digest(mine) != original
    with pytest.raises(StoreError, match="not as the edits expect"):
        apply_patch(theirs.path, patch)
    undo(theirs.path)
    assert digest(theirs) == original


def test_a_patch_that_is_cut_short_or_not_a_patch_is_refused(store: Store, tmp_path: Path) -> None:
    repair(store, rules=["hole"])
    patch = tmp_path / "patch.jsonl"
    export_patch(store.path, patch)
    undo(store.path)
    lines = patch.read_text(encoding="utf-8").splitlines(keepends=True)
    for text in ("".join(lines[:-1]), "".join(lines)[:-40], "", "[1]\n", "{}\n"):
        patch.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"patch\.jsonl"):
            apply_patch(store.path, patch)
    with pytest.raises(NotFoundError, match="does not exist"):
        apply_patch(store.path, tmp_path / "nowhere.parquet")
    with pytest.raises(StoreError, match="nothing to export"):
        export_patch(store.path, patch)


def test_repairs_are_the_same_bytes_on_any_number_of_workers(tmp_path: Path) -> None:
    found = []
    for workers in (1, 3):
        (tmp_path / str(workers)).mkdir()
        made = write(tmp_path / str(workers) / "toy.celltable")
        repair(made, rules=["hole", "split-components", "overlap"], workers=workers)
        found.append((digest(made), digest(made, "edits")))
    assert found[0] == found[1]


def test_predictions_are_a_store_with_scores_of_the_same_images(store: Store, tmp_path: Path) -> None:
    made = predict(store, tmp_path / "pred.celltable", options={"sigma": "1.5"})
    assert list(made) == list(store)
    assert made.info["kind"] == "predictions"
    assert made.info["model"]["name"] == "otsu-watershed"
    assert made.info["model"]["options"]["sigma"] == 1.5
    scores = np.asarray(made.instances.column("score").to_pylist())
    assert len(scores) >= 15
    assert ((scores > 0) & (scores < 1)).all()
    assert (made["image 2"].pixels == store["image 2"].pixels).all()
    label_map = made["image 0"].label_map
    assert ((label_map > 0) & np.any(masks_of(0), axis=0)).sum() > 0.8 * np.any(masks_of(0), axis=0).sum()


def test_predictions_are_the_same_bytes_on_any_number_of_workers(store: Store, tmp_path: Path) -> None:
    one = predict(store, tmp_path / "one.celltable", workers=1)
    three = predict(store, tmp_path / "three.celltable", workers=3)
    assert digest(one) == digest(three)
    assert (one.path / "dataset.json").read_bytes() == (three.path / "dataset.json").read_bytes()


def test_an_interrupted_prediction_goes_on_where_it_stopped(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StoreWriter, "PART_IMAGES", 1)
    whole = predict(store, tmp_path / "whole.celltable")
    real, calls = predict_module._predicted, []

    def failing(ds: Store, run: object, image_id: str) -> Sample:
        calls.append(image_id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(ds, run, image_id)  # type: ignore[arg-type]

    monkeypatch.setattr(predict_module, "_predicted", failing)
    out = tmp_path / "pred.celltable"
    with pytest.raises(KeyboardInterrupt):
        predict(store, out, workers=1)
    assert not out.exists()
    made = predict(store, out, workers=1)
    assert calls[3] == "image 2"
    assert digest(made) == digest(whole)


def test_an_image_that_cannot_be_predicted_is_a_finding(store: Store, tmp_path: Path) -> None:
    (tmp_path / "pixels" / "1.png").write_bytes(b"no image")
    made = predict(store, tmp_path / "pred.celltable")
    assert made.findings.column("rule").to_pylist() == ["unreadable-image"]
    assert len(made["image 1"].instances) == 0
    assert made.image("image 1").annotated is False
    with pytest.raises(CelltableError, match="no option 'size'. Its options: h, min_area"):
        predict(store, tmp_path / "other.celltable", options={"size": 1})
    with pytest.raises(CelltableError, match="option sigma is 'much'; expected a number"):
        predict(store, tmp_path / "other.celltable", options={"sigma": "much"})
