"""COCO: round trips, files by other writers, and findings for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError, NotFoundError
from celltable.formats import coco
from celltable.plugins.losses import GIVEN_PIXELS
from celltable.testing.corpus import corpus, disc


def document(*annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    images = [{"id": 7, "file_name": "a.png", "height": 20, "width": 30, "nuclei_class": "purple_1"}]
    categories = [{"supercategory": "cell", "id": 1, "name": "cell"}]
    return {
        "info": {},
        "licenses": [],
        "categories": categories,
        "images": images,
        "annotations": list(annotations),
    } | more


def annotation(number: int = 1, **more: Any) -> dict[str, Any]:
    base = {"id": number, "image_id": 7, "category_id": 1, "iscrowd": 0, "area": 50.5, "bbox": [1.0, 2.0, 9.5, 8.25]}
    return base | {"segmentation": [[1.5, 2.25, 11.0, 2.0, 8.75, 12.13]]} | more


def saved(folder: Path, value: Any) -> Path:
    path = folder / "in.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_coco_in_is_coco_out_with_polygons_areas_boxes_and_ids_as_published(tmp_path: Path) -> None:
    square = [[15.0, 3.0, 19.0, 3.0, 19.0, 9.0, 15.0, 9.0], [20.0, 10.0, 25.0, 10.0, 22.0, 15.0]]
    crowd = coco_mask.encode(np.asfortranarray(disc((20, 30), 10, 15, 4).astype(np.uint8)))
    rle = {"size": [20, 30], "counts": crowd["counts"].decode()}
    given = document(
        annotation(12),
        annotation(5, segmentation=square, area=61.0),
        annotation(99, segmentation=rle, iscrowd=1, area=49.0),
    )
    path = saved(tmp_path, given)
    coco.write(coco.read(path), tmp_path / "out.json", like=path)
    assert json.loads((tmp_path / "out.json").read_text()) == given


@pytest.mark.real
def test_a_real_livecell_file_comes_out_as_it_went_in(sample: Callable[[str], Path], tmp_path: Path) -> None:
    path = sample("livecell/LIVECell_dataset_2021/annotations/LIVECell/livecell_coco_val.json")
    loss = coco.write(coco.read(path), tmp_path / "out.json", like=path)
    before, after = (json.loads(p.read_text()) for p in (path, tmp_path / "out.json"))
    assert dict(loss.items) == {}
    assert loss.written["cells"] == 1243
    assert after["images"] == before["images"]
    assert after["categories"] == before["categories"]
    order = {a["id"]: a for a in after["annotations"]}
    assert len(order) == len(after["annotations"])
    assert [order[a["id"]] for a in before["annotations"]] == before["annotations"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_pycocotools_reads_the_same_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = corpus()
    for segmentation in ("auto", "rle", "polygon"):
        out = tmp_path / f"{segmentation}.json"
        coco.write(samples, out, segmentation=segmentation)
        theirs = COCO(str(out))
        for sample in samples:
            (number,) = (
                k
                for k, i in theirs.imgs.items()
                if i.get("celltable_id", Path(i["file_name"]).stem) == sample.image.image_id
            )
            found = theirs.loadAnns(theirs.getAnnIds(imgIds=[number], iscrowd=None))
            assert len(found) == len(sample.instances)
            for one, mask in zip(found, sample.instances.masks(), strict=True):
                assert np.array_equal(theirs.annToMask(one).astype(bool), mask), (segmentation, sample.image.image_id)
    capsys.readouterr()


def test_uncompressed_run_lengths_are_plain_counts_and_come_back(tmp_path: Path) -> None:
    samples = corpus()
    coco.write(samples, tmp_path / "u.json", segmentation="uncompressed")
    first = json.loads((tmp_path / "u.json").read_text())["annotations"][0]["segmentation"]
    assert sum(first["counts"]) == first["size"][0] * first["size"][1]
    back = {s.image.image_id: s for s in coco.read(tmp_path / "u.json")}
    for sample in samples:
        assert list(back[sample.image.image_id].instances.rle) == list(sample.instances.rle)


def test_annotations_may_be_an_object_and_are_read_in_the_order_of_its_keys(tmp_path: Path) -> None:
    given = document(annotations={"10": annotation(10), "9": annotation(9, area=1.0)})
    (found,) = coco.read(saved(tmp_path, given))
    assert found.instances.column("source_id") == ["9", "10"]
    assert [f.rule for f in found.findings] == ["annotations-dict"]


def test_annotation_id_0_is_reported_and_replaced_unless_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, document(annotation(0), annotation(1)))
    (found,) = coco.read(path)
    assert [f.rule for f in found.findings] == ["annotation-id-zero"]
    coco.write([found], tmp_path / "new.json")
    coco.write([found], tmp_path / "same.json", ids="published")
    ids = [[a["id"] for a in json.loads((tmp_path / n).read_text())["annotations"]] for n in ("new.json", "same.json")]
    assert 0 not in ids[0]
    assert len(set(ids[0])) == 2
    assert ids[1] == [0, 1]


def test_nuclei_class_is_the_image_class_and_stays_where_it_was(tmp_path: Path) -> None:
    path = saved(tmp_path, document(annotation()))
    (found,) = coco.read(path)
    assert found.image.image_class == "purple_1"
    coco.write([found], tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["images"] == json.loads(path.read_text())["images"]


def test_a_category_called_cell_is_a_kind_and_any_other_a_class(tmp_path: Path) -> None:
    given = document(annotation(1), annotation(2, category_id=2))
    given["categories"].append({"id": 2, "name": "Neoplastic"})
    (found,) = coco.read(saved(tmp_path, given))
    assert found.instances.column("kind") == ["cell", "nucleus"]
    assert found.instances.column("class_name") == [None, "Neoplastic"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"segmentation": [[1.0, 2.0, 3.0, 4.0]]}, "invalid-segmentation"),
        ({"segmentation": [[1.0, 2.0, 3.0, 4.0, 5.0]]}, "invalid-segmentation"),
        ({"segmentation": [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]}, "invalid-segmentation"),
        ({"segmentation": []}, "invalid-segmentation"),
        ({"segmentation": None}, "invalid-segmentation"),
        ({"segmentation": "none"}, "invalid-segmentation"),
        ({"segmentation": {"size": [9, 9], "counts": "0"}}, "invalid-segmentation"),
        ({"segmentation": {"size": [20, 30], "counts": "\u00e4"}}, "invalid-segmentation"),
        ({"segmentation": {"size": [20, 30], "counts": [1000]}}, "invalid-segmentation"),
        ({"segmentation": {"size": [20, 30], "counts": [-1, 601]}}, "invalid-segmentation"),
        ({"category_id": 5}, "unknown-class"),
        ({"image_id": 8}, "unknown-image"),
        ({"image_id": None}, "unknown-image"),
        ({"id": 1}, "duplicate-annotation-id"),
        ({"color": "red"}, "annotation-keys"),
    ],
)
def test_a_bad_annotation_is_a_finding_and_the_good_one_is_read(
    tmp_path: Path, change: dict[str, Any], rule: str
) -> None:
    given = document(annotation(1), annotation(2) | change)
    (found,) = coco.read(saved(tmp_path, given))
    assert [f.rule for f in found.findings] == [rule]
    assert found.instances.column("source_id")[0] == "1"
    left_out = rule in ("invalid-segmentation", "unknown-image")
    assert len(found.instances) == (1 if left_out else 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "JSON"), ("{", "JSON"), ('{"a": 1}', "not COCO"), ('{"images": 3}', "list of objects"), ("3", "expected")],
)
def test_what_is_not_coco_ends_with_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=said):
        list(coco.read(tmp_path / "x.json"))
    with pytest.raises(NotFoundError):
        list(coco.read(tmp_path / "no.json"))


def test_images_listed_twice_keep_both_entries(tmp_path: Path) -> None:
    given = document(annotation(1), annotation(2, image_id=8))
    given["images"].append(given["images"][0] | {"id": 8})
    found = list(coco.read(saved(tmp_path, given)))
    assert [s.image.image_id for s in found] == ["a#7", "a#8"]
    assert [[f.rule for f in s.findings] for s in found] == [["image-listed-twice"]] * 2
    assert [len(s.instances) for s in found] == [1, 1]


def test_results_are_read_for_the_images_they_name_and_written_again(tmp_path: Path) -> None:
    truth = saved(tmp_path, document(annotation(1)))
    mask = coco_mask.encode(np.asfortranarray(disc((20, 30), 10, 15, 4).astype(np.uint8)))
    result = {"image_id": 7, "category_id": 1, "segmentation": {"size": [20, 30], "counts": mask["counts"].decode()}}
    given = [result | {"score": 0.25}, result | {"score": 0.75}]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(given))
    with pytest.raises(InputError, match="has no images"):
        list(coco.read(path))
    (found,) = coco.read(path, reference=truth)
    assert found.instances.column("score") == [0.25, 0.75]
    assert found.instances.column("kind") == ["cell", "cell"]
    coco.write([found], tmp_path / "out.json", layout="results", like=truth)
    assert json.loads((tmp_path / "out.json").read_text()) == given
    (known,) = coco.read(path, {"a": Image("a", 20, 30, metadata={"coco_id": "7"})})
    assert known.image.image_id == "a"


def test_the_fiftyone_layout_has_data_and_labels_and_comes_back_with_pixels(tmp_path: Path) -> None:
    samples = corpus()
    loss = coco.write(samples, tmp_path / "out", layout="fiftyone")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["data", "labels.json"]
    named = {i["file_name"] for i in json.loads((tmp_path / "out" / "labels.json").read_text())["images"]}
    written = {p.name for p in (tmp_path / "out" / "data").iterdir()}
    assert written == named  # FiftyOne refuses labels of a missing image
    assert loss.items[GIVEN_PIXELS] == sum(s.load_pixels is None for s in samples) > 0
    back = {s.image.image_id: s for s in coco.read(tmp_path / "out")}
    for sample in samples:
        if sample.load_pixels is not None:
            assert np.array_equal(back[sample.image.image_id].pixels(), sample.pixels())


def test_ids_that_are_repeated_are_given_new_numbers(tmp_path: Path) -> None:
    mask = disc((20, 30), 10, 15, 4)
    cells = Instances.from_masks([mask, mask], (20, 30), source_id=["4", "4"])
    sample = Sample(Image("a", 20, 30, metadata={"coco_id": "1"}), cells)
    coco.write([sample], tmp_path / "o.json")
    assert [a["id"] for a in json.loads((tmp_path / "o.json").read_text())["annotations"]] == [4, 5]
