"""Every pipeline writes the same bytes whether threads, processes or a cluster do its work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celltable import plugins
from celltable.errors import CelltableError
from celltable.pipelines.check import check
from celltable.pipelines.convert import export
from celltable.pipelines.evaluate import compare, evaluate
from celltable.pipelines.ingest import ingest
from celltable.pipelines.predict import predict
from celltable.pipelines.repair import repair
from celltable.pipelines.tile import tile
from celltable.store import Store

THREADS: dict[str, Any] = {"workers": 2}
PROCESSES: dict[str, Any] = {"workers": 2, "how": "processes"}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a release; its readers have different types of `shared` data and masks."""
    folder: Path = plugins.load("datasets", "dsb2018").example(tmp_path_factory.mktemp("release"), 0)
    return folder


@pytest.fixture(scope="module")
def stores(release: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """Make ground truth and predictions with threads."""
    folder = tmp_path_factory.mktemp("stores")
    truth = ingest("dsb2018", release, folder / "truth.celltable", **THREADS)
    return {"truth": truth, "pred": predict(truth, folder / "pred.celltable", **THREADS)}


def files(made: Path) -> dict[str, bytes]:
    """Read the bytes of a file, or of every file in a folder."""
    inside = sorted(p for p in made.rglob("*") if p.is_file()) if made.is_dir() else [made]
    return {str(p.relative_to(made)): p.read_bytes() for p in inside}


def same(make: Callable[[Path, dict[str, Any]], object], folder: Path) -> None:
    """Make something twice at the same path, by threads and by processes, and compare all its files."""
    made = []
    for how in (THREADS, PROCESSES):
        out = folder / "made"
        make(out, how)
        made.append(files(out))
        out.rename(folder / f"made-{len(made)}")
    assert made[0] == made[1]
    assert made[0]


@pytest.mark.parametrize("copy", [False, True])
def test_ingest(release: Path, tmp_path: Path, copy: bool) -> None:
    same(lambda out, how: ingest("dsb2018", release, out, copy=copy, **how), tmp_path)


@pytest.mark.parametrize("name", ["livecell", "hpa_single_cell", "pannuke", "nuclei_coco"])
def test_ingest_of_releases_whose_annotations_are_one_file(name: str, tmp_path: Path) -> None:
    path = plugins.load("datasets", name).example(tmp_path / "release", 0)
    same(lambda out, how: ingest(name, path, out, **how), tmp_path)


def test_predict(stores: dict[str, Store], tmp_path: Path) -> None:
    same(lambda out, how: predict(stores["truth"], out, **how), tmp_path)


@pytest.mark.parametrize("form", ["auto", "tif"])
def test_tile(stores: dict[str, Store], tmp_path: Path, form: str) -> None:
    same(lambda out, how: tile(stores["truth"], out, size=64, overlap=8, form=form, **how), tmp_path)


@pytest.mark.parametrize("form", ["coco", "yolo-seg", "label-tiff", "hf-parquet", "nuclei-coco"])
def test_export(stores: dict[str, Store], tmp_path: Path, form: str) -> None:
    same(lambda out, how: export(stores["truth"], form, out, **how), tmp_path)


def test_pixels_that_cannot_be_read_are_the_same_to_a_writer_whoever_reads_them(tmp_path: Path) -> None:
    release = plugins.load("datasets", "dsb2018").example(tmp_path / "release", 0)
    store = ingest("dsb2018", release, tmp_path / "truth.celltable", copy=True, **THREADS)
    last = store.image(sorted(store)[-1])
    (store.path / last.pixels[0].member).write_bytes(b"no image")
    said = []
    for how in (THREADS, PROCESSES):
        with pytest.raises(CelltableError) as caught:
            export(store, "yolo-seg", tmp_path / "out", **how)
        said.append((type(caught.value), str(caught.value), getattr(caught.value, "__notes__", [])))
        assert not (tmp_path / "out").exists()
    assert said[0] == said[1]
    assert last.image_id in str(said[0])


def test_check_and_repair(stores: dict[str, Store]) -> None:
    truth = stores["truth"]
    findings = [check(truth, write=False, **how).findings for how in (THREADS, PROCESSES)]
    assert findings[0].num_rows > 0
    assert findings[0].equals(findings[1])
    edits = [repair(truth, dry_run=True, **how).edits for how in (THREADS, PROCESSES)]
    assert edits[0].num_rows > 0
    assert edits[0].equals(edits[1])


def test_evaluate_and_compare(stores: dict[str, Store], tmp_path: Path) -> None:
    truth, pred = stores["truth"], stores["pred"]
    coco = tmp_path / "pred.json"
    export(pred, "coco", coco)
    for side in (pred, coco):
        scores = [
            evaluate(truth, side, "all", rounds=20, by=("size",), **how).to_dict() for how in (THREADS, PROCESSES)
        ]
        assert json.dumps(scores[0]) == json.dumps(scores[1])
        assert scores[0]["scores"]
    settings: dict[str, Any] = {"metrics": ["ap_dsb2018", "pq_hovernet"], "rounds": 20}
    rows = [compare(truth, pred, truth, **settings, **how).to_dict() for how in (THREADS, PROCESSES)]
    assert json.dumps(rows[0]) == json.dumps(rows[1])
