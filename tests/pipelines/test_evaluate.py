"""Evaluation of predictions in every form: stores, COCO files, submissions, folders of label images, arrays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError, MetricError, NotFoundError
from celltable.pipelines.convert import export
from celltable.pipelines.evaluate import compare, evaluate, scores_table
from celltable.store import Store, StoreWriter, open_store

METRICS = ("ap_dsb2018", "pq_hovernet", "aji_plus")


def maps(n: int = 4) -> tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]]:
    rng = np.random.default_rng(0)
    gt, pred = [], []
    for _ in range(n):
        label_map = np.zeros((30, 40), np.int32)
        for k in range(1, 8):
            y, x = rng.integers(0, 24), rng.integers(0, 34)
            label_map[y : y + 5, x : x + 5] = k
        gt.append(label_map)
        pred.append(np.roll(label_map, 1, axis=0))
    return gt, pred


def store(path: Path, label_maps: list[NDArray[np.int32]], **changes: Any) -> Store:
    with StoreWriter(path, {"name": path.stem}) as writer:
        for k, label_map in enumerate(label_maps):
            image = replace(Image(f"image_{k}", 30, 40, dataset=path.stem, tissue="ab"[k % 2]), **changes)
            columns = {"score": np.linspace(0.2, 0.9, len(np.unique(label_map)) - 1)} if "pred" in path.stem else {}
            writer.append(Sample(image, Instances.from_label_map(label_map, **columns)))
        return writer.finish({"name": path.stem})


def numbers(scores: Any) -> dict[str, float]:
    return {name: scores[name].value for name in METRICS}


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    gt, pred = maps()
    return store(tmp_path / "gt.celltable", gt), store(tmp_path / "pred.celltable", pred)


def test_a_store_scores_as_its_arrays_do(stores: tuple[Store, Store]) -> None:
    expected = numbers(evaluate(*maps(), METRICS, rounds=0))
    assert numbers(evaluate(*stores, METRICS, rounds=0)) == pytest.approx(expected, abs=1e-12)
    assert numbers(evaluate(stores[0].path, str(stores[1].path), METRICS, rounds=0)) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize(("form", "out"), [("coco", "pred.json"), ("dsb-csv", "pred.csv"), ("label-tiff", "pred_maps")])
def test_files_and_folders_score_as_the_store_they_came_from(
    stores: tuple[Store, Store], tmp_path: Path, form: str, out: str
) -> None:
    export(stores[1], form, tmp_path / out)
    expected = numbers(evaluate(*stores, METRICS, rounds=0))
    assert numbers(evaluate(stores[0], tmp_path / out, METRICS, rounds=0)) == pytest.approx(expected, abs=1e-12)


def test_columns_of_the_store_break_scores_down(stores: tuple[Store, Store]) -> None:
    groups = evaluate(*stores, METRICS, by=["tissue"], rounds=0)["pq_hovernet"].groups["tissue"]
    assert {k: g.n_images for k, g in groups.items()} == {"a": 2, "b": 2}
    only = evaluate(*stores, METRICS, where="tissue = 'a'", rounds=0)["pq_hovernet"]
    assert only.value == groups["a"].value
    with pytest.raises(NotFoundError, match="no image of gt.celltable has"):
        evaluate(*stores, METRICS, where="tissue = 'z'")


def test_images_of_only_one_side_are_refused_or_counted_and_reported(tmp_path: Path) -> None:
    gt, pred = maps()
    truth, some = store(tmp_path / "gt.celltable", gt), store(tmp_path / "pred.celltable", pred[:3])
    with pytest.raises(NotFoundError, match="1 of 4 images have no prediction: image_3"):
        evaluate(truth, some, METRICS)
    scores = evaluate(truth, some, METRICS, missing="empty", rounds=0)
    assert scores["pq_hovernet"].images["image_3"] == 0
    assert "scored as empty: image_3" in str(scores)
    fewer = store(tmp_path / "few.celltable", gt[:2])
    with pytest.raises(NotFoundError, match="predictions for 1 images that the ground truth does not have: image_2"):
        evaluate(fewer, some, METRICS)
    assert len(evaluate(fewer, some, METRICS, unknown="ignore", rounds=0)["pq_hovernet"].images) == 2


def test_results_for_unknown_images_are_refused_or_counted_and_reported(tmp_path: Path) -> None:
    gt, pred = maps()
    export(store(tmp_path / "gt.celltable", gt), "coco", tmp_path / "gt.json")
    export(store(tmp_path / "pred.celltable", pred), "coco", tmp_path / "pred.json")
    document = json.loads((tmp_path / "pred.json").read_text())
    results = document["annotations"]
    last = max(r["image_id"] for r in results)
    strangers = sum(r["image_id"] == last for r in results)
    for result in results:
        result["image_id"] += 1000 * (result["image_id"] == last)
    (tmp_path / "results.json").write_text(json.dumps(results))
    sides = tmp_path / "gt.json", tmp_path / "results.json"
    with pytest.raises(NotFoundError, match=f"{strangers} annotations do not belong to any image"):
        evaluate(*sides, METRICS, missing="empty")
    scores = evaluate(*sides, METRICS, missing="empty", unknown="ignore", rounds=0)
    assert f"{strangers} annotations do not belong to any image" in str(scores)
    assert scores["pq_hovernet"].images["image_3"] == 0


def test_images_that_are_not_annotated_or_ignored_are_not_scored(tmp_path: Path) -> None:
    gt, pred = maps(2)
    found = store(tmp_path / "pred.celltable", pred)
    with pytest.raises(MetricError, match="none of the 2 images of bare is annotated"):
        evaluate(store(tmp_path / "bare.celltable", gt, annotated=False), found, METRICS)
    with pytest.raises(MetricError, match="marked ignore"):
        evaluate(store(tmp_path / "out.celltable", gt, ignore=True), found, METRICS)


def test_scores_are_written_into_the_store_of_predictions_once_per_metric(stores: tuple[Store, Store]) -> None:
    scores = evaluate(*stores, METRICS, write=True, rounds=20)
    evaluate(stores[0], open_store(stores[1].path), ["pq_hovernet"], write=True, rounds=20)
    rows = open_store(stores[1].path).scores.to_pylist()
    whole = [r for r in rows if r["level"] == "pooled" and r["field"] == "value"]
    assert sorted(r["metric"] for r in whole) == sorted(METRICS)
    assert {r["value"] for r in whole} == set(numbers(scores).values())
    assert scores_table(scores).num_rows > len(METRICS)


def test_two_models_are_compared_on_the_same_images(stores: tuple[Store, Store]) -> None:
    result = compare(stores[0], stores[1], stores[0], ["pq_hovernet"], by=["tissue"])
    assert result.names == ("pred", "gt")
    assert {r.verdict for r in result.rows if r.group is None} == {"b"}
    assert len(result.rows) == 3


def test_what_cannot_be_scored_is_refused_with_a_hint(stores: tuple[Store, Store], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one side is an array"):
        evaluate(stores[0], maps()[1], METRICS)
    with pytest.raises(InputError, match="no store to write"):
        evaluate(*maps(), METRICS, write=True)
    with pytest.raises(NotFoundError, match="does not exist"):
        evaluate(stores[0], tmp_path / "nowhere", METRICS)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"found a file notes.txt, which no format recognises"):
        evaluate(stores[0], tmp_path / "notes.txt", METRICS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: found no files, which no format recognises"):
        evaluate(stores[0], tmp_path / "empty", METRICS)


def test_a_kind_that_does_not_occur_is_an_error_and_not_a_zero(stores: tuple[Store, Store]) -> None:
    there = set(stores[0].columns("kind").column(0).to_pylist())
    (absent,) = {"nucleus", "cell"} - there
    with pytest.raises(InputError, match=f"has no cells of kind '{absent}'"):
        evaluate(*stores, "mae", kind=absent)
    with pytest.raises(InputError, match="kind is 'nuclei'; expected 'nucleus' or 'cell'"):
        evaluate(*stores, "mae", kind="nuclei")
