"""``celltable import`` says what it read and what it could not find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from celltable import plugins
from celltable.cells import Image, Instances, Sample
from celltable.cli import build
from celltable.geometry import rle
from celltable.pipelines.convert import export, import_annotations
from celltable.pipelines.ingest import ingest
from celltable.pipelines.torch_dataset import training_items
from celltable.store import open_store


def test_images_without_pixels_are_counted_and_reported(tmp_path: Path) -> None:
    commands = build(["import", "export"])
    store = ingest("tnbc", plugins.load("datasets", "tnbc").example(tmp_path / "r", 0), tmp_path / "a.celltable")
    export(store, "coco", tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    arguments = ["import", "coco", str(tmp_path / "a.json")]
    alone = CliRunner().invoke(commands, [*arguments, str(tmp_path / "b")])
    assert f"3 images and {len(document['annotations'])} cells of a.json (coco), with 0 findings\n" in alone.output
    assert "3 images without pixels; use --images STORE" in alone.output
    beside = CliRunner().invoke(commands, [*arguments, str(tmp_path / "c"), "--images", str(store.path)])
    assert beside.exit_code == 0, beside.output
    assert "without pixels" not in beside.output


def annotated(at: Path, names: list[str], **head: Any) -> Path:
    """Write a COCO file of one image with a cell of each category except the last."""
    mask = {"size": [4, 6], "counts": rle.encode(np.eye(4, 6, dtype=bool)).decode()}
    rows = [{"id": k, "image_id": 1, "category_id": k, "segmentation": mask} for k in range(1, len(names))]
    categories = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
    images = [{"id": 1, "file_name": "a.png", "height": 4, "width": 6}]
    at.write_text(json.dumps({"images": images, "categories": categories, "annotations": rows, **head}))
    return at


def test_classes_keep_the_order_of_the_coco_file_also_those_without_a_cell(tmp_path: Path) -> None:
    path = annotated(tmp_path / "a.json", ["Neoplastic", "Dead", "Connective"])
    store = import_annotations("coco", path, tmp_path / "a.celltable")
    assert store.description.classes == ("Neoplastic", "Dead", "Connective")
    assert store.description.target == ("nucleus",)
    assert open_store(tmp_path / "a.celltable").description.classes == ("Neoplastic", "Dead", "Connective")


def test_classes_of_the_images_come_first_and_the_terms_of_the_file_are_kept(tmp_path: Path) -> None:
    terms = {
        "info": {"description": "A set", "contributor": "Someone", "year": 2021},
        "licenses": [{"id": 1, "name": "Attribution-NonCommercial 4.0", "url": "https://cc.org/by-nc/4.0/"}],
    }
    path = annotated(tmp_path / "a.json", ["b", "a", "c"], **terms)
    first = import_annotations("coco", path, tmp_path / "first")
    assert first.description.title == "A set"
    assert first.description.licence == "Attribution-NonCommercial 4.0 https://cc.org/by-nc/4.0/"
    assert first.description.non_commercial
    assert first.description.citation == "Someone, A set, 2021"
    second = annotated(tmp_path / "b.json", ["d", "a", "e"])
    again = import_annotations(None, second, tmp_path / "second", images=first)
    assert again.description.classes == ("b", "a", "c", "d", "e")
    assert again.description.non_commercial
    stated = import_annotations(None, path, tmp_path / "third", licence="CC BY 4.0")
    assert stated.description.licence == "CC BY 4.0"


@pytest.mark.parametrize(
    ("form", "classes"),
    [
        ("coco", ("Dead", "Neoplastic")),
        ("yolo-seg", ("Dead", "Neoplastic")),
        ("hover-net", ("Dead", "Neoplastic")),
        ("pannuke-npy", ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")),
        ("image-mask-png", ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")),
        ("geojson", ("Dead", "Neoplastic")),
        ("labelme", ("Dead", "Neoplastic")),
        ("aperio-xml", ("Dead", "Neoplastic")),
        ("hf-parquet", ("Dead", "Neoplastic")),
        ("ome-zarr", ("Dead", "Neoplastic")),
        ("label-png", ()),
    ],
)
def test_every_format_with_classes_gives_them_a_place(form: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    size = (16, 16)
    masks = np.zeros((2, *size), bool)
    masks[0, 2:5, 2:6], masks[1, 9:12, 8:14] = True, True
    cells = Instances.from_masks(list(masks), size, class_name=["Dead", "Neoplastic"])
    sample = Sample(Image("a", *size), cells, load_pixels=lambda: np.full((*size, 3), 9, np.uint8))
    plugin = plugins.load("formats", form)
    plugin.write([sample], tmp_path / ("out" + "".join(plugin.extensions[:1])))
    plugins.load("formats", "cellpose").write([sample], tmp_path / "pictures")
    store = import_annotations(None, next(tmp_path.glob("out*")), tmp_path / "s", images=tmp_path / "pictures")
    assert store.description.classes == classes
    names = store.columns("class_name").column("class_name").to_pylist()
    indices = next(training_items(store))["class_index"].tolist()
    assert sorted(indices) == sorted(classes.index(n) if n else -1 for n in names)


def test_images_may_be_given_in_any_format(tmp_path: Path) -> None:
    size = (16, 16)
    mask = np.zeros(size, bool)
    mask[2:9, 3:8] = True
    sample = Sample(
        Image("a", *size), Instances.from_masks([mask], size), load_pixels=lambda: np.eye(16, dtype=np.uint8)
    )
    plugins.load("formats", "cellpose").write([sample], tmp_path / "pictures")
    plugins.load("formats", "dsb-csv").write([sample], tmp_path / "runs.csv")
    store = import_annotations(None, tmp_path / "runs.csv", tmp_path / "s", images=tmp_path / "pictures")
    assert store["a"].instances.area.tolist() == [35]
    assert (store["a"].pixels == np.eye(16)).all()
