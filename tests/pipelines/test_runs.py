"""Scores in a store are identified by their run: none overwrites others; a report shows those of the present cells."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from celltable import schema
from celltable.cells import Edit, Image, Instances, Pixels, Sample
from celltable.pipelines.check import check
from celltable.pipelines.evaluate import evaluate
from celltable.pipelines.repair import repair, undo
from celltable.pipelines.report import report
from celltable.pipelines.show import summary
from celltable.store import Store, StoreWriter, open_store
from celltable.store.edits import edits_table

SIZE = (32, 40)
METRIC = "ap_stardist"


def write(path: Path, grown: int, hole: bool = False) -> Store:
    """Make two images of two squares each, in train and in test; those in test are larger by `grown` pixels."""
    with StoreWriter(path, {}) as writer:
        (writer.extra / "pixels").mkdir()
        for k, part in enumerate(("train", "test")):
            masks = np.zeros((2, *SIZE), bool)
            masks[0, 2 : 12 + k * grown, 2:12] = masks[1, 16:28, 20:30] = True
            if hole:
                masks[0, 5:8, 5:8] = False
            np.save(writer.extra / "pixels" / f"{part}.npy", np.zeros(SIZE, np.uint8))
            image = Image(part, *SIZE, (Pixels("", f"pixels/{part}.npy"),), "toy", split=part)
            writer.append(Sample(image, Instances.from_masks(masks, SIZE, score=[0.5, 0.9] if grown else None)))
        return writer.finish({"name": "toy", "kind": "predictions" if grown else "annotations"})


@pytest.fixture
def gt(tmp_path: Path) -> Store:
    return write(tmp_path / "gt.celltable", 0)


@pytest.fixture
def pred(tmp_path: Path) -> Store:
    return write(tmp_path / "unet.celltable", 3)


def pooled(store: Store) -> dict[str, float]:
    rows = store.fresh().scores.to_pylist()
    return {r["run_id"]: r["value"] for r in rows if r["level"] == "pooled" and r["field"] == "value"}


def test_runs_with_other_images_mode_or_options_are_kept_beside_each_other(gt: Store, pred: Store) -> None:
    requests: list[dict[str, object]] = [
        {}, {"where": "split = 'test'"}, {"where": "split = 'train'"}, {"mode": "strict"}, {"kind": "nucleus"},
        {"options": {"thresholds": [0.5]}}, {"rounds": 10},
    ]  # fmt: skip
    values = [evaluate(gt, pred, [METRIC], write=True, **how)[METRIC].value for how in requests]  # type: ignore[arg-type]
    assert list(pooled(pred).values()) == values
    runs = {row["run_id"]: row for row in pred.fresh().runs.to_pylist()}
    assert list(runs) == list(pooled(pred))
    assert [r["where"] for r in runs.values()][1:3] == ["split = 'test'", "split = 'train'"]
    assert {r["gt"] for r in runs.values()} == {"gt"}
    assert {r["predictions"] for r in runs.values()} == {"unet"} == set(pred.fresh().scores["predictions"].to_pylist())
    assert {(r["gt_digest"], r["predictions_digest"]) for r in runs.values()} == {(gt.content, pred.content)}
    assert {Path(r["gt_path"]) for r in runs.values()} == {gt.path}


def test_the_same_run_replaces_its_own_scores_of_the_same_metrics_only(gt: Store, pred: Store) -> None:
    evaluate(gt, pred, [METRIC], write=True)
    first = pred.fresh().scores.to_pylist()
    evaluate(gt, pred, ["pq_hovernet"], write=True)
    evaluate(gt.path, pred.path, [METRIC], write=True)
    rows = pred.fresh().scores.to_pylist()
    assert [r for r in rows if r["metric"] == METRIC] == first
    assert {r["metric"] for r in rows} == {METRIC, "pq_hovernet"}
    assert len(pred.fresh().runs) == 1


def test_another_ground_truth_is_another_run_and_undo_brings_the_old_one_back(gt: Store, pred: Store) -> None:
    evaluate(gt, pred, [METRIC], write=True)
    cell = gt["train"].instances.take([0])
    gt.edit(edits_table([Edit("by-hand", "train", 1, "gone", cell, None)]))
    evaluate(gt.path, pred, [METRIC], write=True)
    assert len(pooled(pred)) == 2
    undo(gt)
    evaluate(gt.path, pred, [METRIC], write=True)
    assert len(pooled(pred)) == 2


def text_of(path: Path) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", path.read_text()))


def test_the_report_shows_scores_of_the_present_cells_and_says_what_it_leaves_out(
    gt: Store, pred: Store, tmp_path: Path
) -> None:
    evaluate(gt, pred, [METRIC], where="split = 'test'", write=True)
    page = text_of(report(gt, tmp_path / "a.html", predictions=pred.path, metrics=[METRIC]))
    assert f"{METRIC}: only images where split = 'test'" in page.replace("&#x27;", "'")
    assert "are not shown" not in page
    cell = gt["test"].instances.take([0])
    changed = gt.edit(edits_table([Edit("by-hand", "test", 1, "gone", cell, None)]))
    page = text_of(report(changed, tmp_path / "b.html", predictions=pred.path, metrics=[METRIC]))
    assert f"Scores of {METRIC} that were written for another ground truth" in page
    assert "only images where" not in page
    expected = evaluate(changed, pred.path, [METRIC])[METRIC].value
    assert f"{expected:.4g}" in page


def test_scores_of_version_1_name_no_ground_truth_and_are_not_shown(gt: Store, pred: Store, tmp_path: Path) -> None:
    old = [{"metric": METRIC, "mode": "corrected", "level": "pooled", "field": "value", "value": 12345.678}]
    pred.update({"scores": pa.Table.from_pylist(old, schema=schema.SCORES)})
    page = text_of(report(gt, tmp_path / "a.html", predictions=pred.path, metrics=[METRIC]))
    assert "1.235e+04" not in page
    assert "are not shown" in page


def test_a_repaired_mask_is_not_an_open_error_until_check_runs_again(tmp_path: Path) -> None:
    store = write(tmp_path / "s.celltable", 0, hole=True)
    check(store, rules=["hole"])
    assert summary(store.path)["findings"] == {"hole": 2}
    assert "findings about annotations" not in text_of(report(store.path, tmp_path / "a.html"))
    repair(store, rules=["fill-holes"])
    shown = summary(store.path)
    assert (shown["findings"], shown["stale_findings"]) == ({}, 2)
    page = report(store.path, tmp_path / "b.html").read_text()
    assert "2 findings about annotations that have changed since are not shown" in page
    assert "<h3>hole</h3>" not in page
    undo(store)
    assert summary(store.path)["findings"] == {"hole": 2}, "the holes are back"
    repair(store, rules=["fill-holes"])
    check(store, rules=["hole"])
    assert len(open_store(store.path).findings) == 0
