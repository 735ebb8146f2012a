"""What celltable writes opens in the tools it is written for, where they are installed, and obeys the rules they state.

FiftyOne, `datasets`, LabelMe, shapely and geojson are not dependencies: if one is missing, its test is skipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celltable import plugins
from celltable.cells import Image, Instances, Sample
from celltable.formats import hf_parquet
from celltable.geometry import polygon, rle
from celltable.testing.corpus import blobs, corpus, disc, sample

foreign = pytest.mark.filterwarnings("ignore")  # theirs


def _written(name: str, folder: Path, samples: list[Sample], **options: Any) -> Path:
    form = plugins.load("formats", name)
    out = folder / ("out" + "".join(form.extensions[:1]))
    assert form.write is not None
    form.write(iter(samples), out, **options)
    return out


@foreign
@pytest.mark.slow
@pytest.mark.parametrize("segmentation", ["auto", "polygon", "uncompressed"])
def test_fiftyone_imports_every_image_with_its_boxes_masks_and_classes(tmp_path: Path, segmentation: str) -> None:
    coco = pytest.importorskip("fiftyone.utils.coco")
    samples = corpus()
    out = _written("coco", tmp_path, samples, layout="fiftyone", segmentation=segmentation)
    importer = coco.COCODetectionDatasetImporter(dataset_dir=str(out), label_types=["segmentations"])
    with importer:
        found = {Path(path).stem: (path, meta, labels) for path, meta, labels in importer}
    names = {i["file_name"].rpartition(".")[0]: i for i in json.loads((out / "labels.json").read_text())["images"]}
    assert set(found) == set(names)
    for given in samples:
        stem = next(s for s, i in names.items() if i.get("celltable_id", s) == given.image.image_id)
        path, meta, labels = found[stem]
        assert Path(path).is_file()
        assert (meta.height, meta.width) == given.image.size
        cells = given.instances
        seen = labels.detections if len(cells) else []
        assert [d.label for d in seen] == [
            c or k for c, k in zip(*map(cells.column, ("class_name", "kind")), strict=True)
        ]
        for k, one in enumerate(seen):
            box = cells.column("published_bbox")[k] or cells.bbox[k].tolist()
            height, width = given.image.size
            assert one.bounding_box == pytest.approx([n / s for n, s in zip(box, (width, height) * 2, strict=True)])
            if cells.column("published_bbox")[k] is None and cells.area[k]:
                x, y, w, h = box
                assert np.array_equal(one.mask, rle.decode(cells.rle[k], cells.size)[y : y + h, x : x + w])


@foreign
@pytest.mark.slow
def test_datasets_loads_the_parquet_file_with_images_and_sequences(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    if not hasattr(datasets, "load_dataset"):  # our own test package also has that name
        pytest.skip("Hugging Face's datasets is not installed")
    samples = corpus()
    out = _written("hf-parquet", tmp_path, samples)
    cache = str(tmp_path / "cache")
    loaded = datasets.load_dataset("parquet", data_files=str(out), cache_dir=cache, split="train")
    assert type(loaded.features["image"]).__name__ == "Image"
    assert set(loaded.features["cells"].feature) == {f.name for f in hf_parquet.CELL}
    for row, given in zip(loaded, samples, strict=True):
        assert row["image_id"] == given.image.image_id
        assert [c["bbox"] for c in row["cells"]] == given.instances.bbox.tolist()
        if given.load_pixels is not None:
            assert np.array_equal(np.asarray(row["image"]), given.pixels())


@foreign
def test_labelme_opens_every_file_that_has_its_image(tmp_path: Path) -> None:
    labelme = pytest.importorskip("labelme._label_file")
    samples = [s for s in corpus() if s.load_pixels is not None]
    out = _written("labelme", tmp_path, samples)
    assert len(list(out.glob("*.json"))) == len(samples)
    for path in out.glob("*.json"):
        shapes = json.loads(path.read_text())["shapes"]
        opened = labelme.LabelFile(str(path))
        assert len(opened.shapes) == len(shapes)
        for mine, theirs in zip(shapes, opened.shapes, strict=True):
            assert theirs["label"] == mine["label"]
            assert np.allclose(theirs["points"], mine["points"])
            if mine["mask"] is not None:
                (x1, y1), (x2, y2) = mine["points"]
                assert theirs["mask"].shape == (y2 - y1 + 1, x2 - x1 + 1)  # its requirements for a mask


def _ragged() -> Sample:
    """Draw masks with specks, holes and pixels that meet only at corners."""
    rng, size = np.random.default_rng(3), (60, 70)
    return sample("ragged", [m & (rng.random(size) < 0.8) for m in blobs(size, 12, 5)], size)


def _features(tmp_path: Path, **options: Any) -> Iterator[tuple[Sample, dict[str, Any]]]:
    samples = [*corpus(), _ragged()]
    out = _written("geojson", tmp_path, samples, **options)
    documents = [json.loads(p.read_text()) for p in sorted(out.glob("*.geojson"))]
    by_id = {s.image.image_id: s for s in samples}
    assert {d["celltable"]["image_id"] for d in documents} == set(by_id)
    for document in documents:
        assert document["type"] == "FeatureCollection"
        given = by_id[document["celltable"]["image_id"]]
        assert len(document["features"]) == np.count_nonzero(given.instances.area)
        for feature in document["features"]:
            yield given, feature


@pytest.mark.parametrize("objects", ["detection", "annotation"])
def test_geojson_is_what_qupath_reads_as_objects(tmp_path: Path, objects: str) -> None:
    """Check the keys and types that QuPath's reader needs (qupath.lib.io, QuPathTypeAdapters and ROITypeAdapters)."""
    seen = 0
    for given, feature in _features(tmp_path, objects=objects):
        assert feature["type"] == "Feature"
        assert "id" not in feature  # a UUID or nothing
        said = feature["properties"]
        assert (said["objectType"], said["isLocked"]) == (objects, False)
        name = dict(zip(given.instances.ids.tolist(), given.instances.column("class_name"), strict=True))
        assert said.get("classification", {}).get("name") == name[said["celltable"]["id"]]
        for colour in said.get("classification", {}).get("color", []):
            assert type(colour) is int
            assert 0 <= colour <= 255
        assert all(type(v) in (int, float) and math.isfinite(v) for v in said.get("measurements", {}).values())
        kind, polygons = feature["geometry"]["type"], feature["geometry"]["coordinates"]
        assert kind in ("Polygon", "MultiPolygon")
        for ring in (r for rings in ([polygons] if kind == "Polygon" else polygons) for r in rings):
            assert ring[0] == ring[-1]  # or its linear ring is refused
            assert len(ring) >= 4
            assert {len(p) for p in ring} == {2}
            seen += 1
    assert seen > 60


def test_geojson_is_valid_geometry_of_the_area_of_the_mask(tmp_path: Path) -> None:
    shapes = pytest.importorskip("shapely.geometry")
    for given, feature in _features(tmp_path):
        geometry, number = shapes.shape(feature["geometry"]), feature["properties"]["celltable"]["id"]
        assert geometry.is_valid
        if not feature["properties"]["celltable"].get("published"):
            assert geometry.area == given.instances.area[given.instances.ids.tolist().index(number)]


def _yaml(text: str) -> dict[str, str]:
    """Return the top-level keys."""
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("splits", [["train"], ["val"], ["test"], ["train", "val", "test"], [None]])
def test_yolo_names_train_and_val_folders_that_exist_beside_the_file(tmp_path: Path, splits: list[str | None]) -> None:
    """Ultralytics demands both keys, and takes `path` from the current folder: without it, from the file's."""
    mask = disc((20, 30), 10, 12, 5)
    samples = [sample(f"a{k}", [mask], (20, 30), image={"split": s}) for k, s in enumerate(splits)]
    out = _written("yolo-seg", tmp_path, samples)
    said = _yaml((out / "data.yaml").read_text())
    assert {"train", "val", "names"} <= set(said)
    assert "path" not in said
    for key in said.keys() - {"names"}:
        folder = out / said[key]
        assert {p.stem for p in folder.iterdir()}
        if key in splits:
            assert folder.name == key


def test_yolo_lines_are_what_ultralytics_accepts(tmp_path: Path) -> None:
    """A class below the number of names and pairs of fractions from 0 to 1, of polygons outside the image, too."""
    size = (44, 44)
    parts = [[[-5.25, 5.5, 50.0, 6.0, 12.75, 49.25]], [[3.5, 3.5, 20.0, 3.5, 11.25, 30.0]]]
    drawn = Instances(polygon.to_masks(parts, size), polygon=[polygon.pack(p) for p in parts])
    out = _written("yolo-seg", tmp_path, [*corpus(), Sample(Image("outside", *size), drawn)])
    names = (out / "data.yaml").read_text().partition("names:\n")[2].count("\n")
    for path in (out / "labels").rglob("*.txt"):
        if path.stem == "f-scores-crowd-multi":
            continue  # its scores make it a file of predictions
        for line in path.read_text().splitlines():
            number, *values = line.split()
            assert 0 <= int(number) < names
            assert len(values) >= 6
            assert len(values) % 2 == 0
            assert all(0 <= float(v) <= 1 for v in values)
    lines = (out / "labels" / "train" / "outside.txt").read_text().splitlines()
    assert lines[1].split()[1:3] == [f"{3.5 / 44:.9f}", f"{3.5 / 44:.9f}"]  # inside: as published
