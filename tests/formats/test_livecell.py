"""LIVECell's annotation files: the same as the published ones, all made from one store, and read back whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks_of_coco
from pycocotools.coco import COCO

from celltable import plugins
from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError
from celltable.formats.livecell import write
from celltable.imagefile import open_release
from celltable.notation.names import to_name
from celltable.plugins.format import ConversionReport
from celltable.testing.corpus import corpus, disc

TYPES = ("A172", "BT474", "BV2", "Huh7", "MCF7", "SHSY5Y", "SkBr3", "SKOV3")
SIZES = {"0_train2percent": 2, "1_train4percent": 4, "2_train5percent": 5, "3_train25percent": 25,
         "4_train50percent": 50}  # fmt: skip


def read(root: Path, *parts: str) -> dict[str, Sample]:
    """Return what the reader of the data set sees, by image."""
    data = plugins.load("datasets", "livecell")
    with open_release(root) as release:
        scan = data.scan(release, parts)
        samples = [data.load(release, scan.shared, item) for item in scan.items]
    return {s.image.image_id: replace(s, image=replace(s.image, dataset="livecell")) for s in samples}


def document(out: Path, name: str) -> Any:
    return json.loads((out / "annotations" / f"{name}.json").read_text())


def cells_of(doc: Any) -> Any:
    found = doc["annotations"]
    return found if isinstance(found, list) else list(found.values())


def many(per_type: int, parts: tuple[str, ...] = ("train",)) -> Iterator[Sample]:
    """Images of all types without pixels, one cell each; the types are not equally frequent."""
    masks = [disc((20, 24), 9, 9, 5)]
    for k, kind in enumerate(TYPES):
        for i in range(per_type * (1 + k % 3)):
            for part in parts:
                stem = f"{kind}_Phase_A{k + 1}_1_{i // 24:02d}d{i % 24:02d}h00m_{1 + parts.index(part)}"
                image = Image(stem, 20, 24, split=part, cell_type=kind, dataset="livecell")
                yield Sample(image, Instances.from_masks(masks, (20, 24), kind="cell"))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = plugins.load("datasets", "livecell").example(tmp_path_factory.mktemp("livecell"))
    return root


@pytest.fixture(params=[False, True], ids=["list", "as published"])
def exported(
    request: pytest.FixtureRequest, example: Path, tmp_path: Path
) -> tuple[dict[str, Sample], Path, ConversionReport]:
    samples = read(example)
    out = tmp_path / "LIVECell_dataset_2021"
    return samples, out, write(samples.values(), out, pixels=True, as_published=request.param)


def same(before: Sample, after: Sample) -> None:
    a, b = before.instances, after.instances
    assert before.image.metadata["coco_id"] == after.image.metadata["coco_id"]
    assert (a.rle, a.column("source_id"), a.column("kind")) == (b.rle, b.column("source_id"), b.column("kind"))
    assert a.column("polygon") == b.column("polygon")
    assert a.column("published_area") == b.column("published_area")
    assert np.array_equal(np.array(a.column("published_bbox")), np.array(b.column("published_bbox")))
    assert (before.pixels() == after.pixels()).all()


def test_every_file_is_read_back_by_the_data_set_with_the_same_cells(
    exported: tuple[dict[str, Sample], Path, ConversionReport],
) -> None:
    samples, out, loss = exported
    assert not loss.items, str(loss)
    by_number = {s.image.metadata["coco_id"]: s for s in samples.values()}
    parts: dict[str, Callable[[Image], bool]] = {p: lambda i, p=p: i.split == p for p in ("train", "val", "test")}  # type: ignore[misc]
    parts |= {f"{t.lower()}_{p}": lambda i, t=t, p=p: (i.cell_type, i.split) == (t, p)  # type: ignore[misc]
              for t, p in (("A172", "train"), ("BV2", "val"), ("A172", "val"), ("SkBr3", "test"))}  # fmt: skip
    for part, wanted in parts.items():
        found = read(out, part)
        expected = {n for n, s in by_number.items() if wanted(s.image)}
        assert expected, part
        assert {s.image.metadata["coco_id"] for s in found.values()} == expected, part
        for sample in found.values():
            same(by_number[sample.image.metadata["coco_id"]], sample)
    for part in SIZES:
        for sample in read(out, part).values():
            assert sample.image.split == "train"
            same(by_number[sample.image.metadata["coco_id"]], sample)


def test_the_release_written_again_is_the_same_release(
    exported: tuple[dict[str, Sample], Path, ConversionReport],
) -> None:
    samples, out, _ = exported
    again = read(out)
    assert again.keys() == samples.keys()
    for image_id, sample in samples.items():
        assert again[image_id].image == sample.image
        same(sample, again[image_id])


def test_single_type_files_as_first_published_hold_annotations_by_id(example: Path, tmp_path: Path) -> None:
    samples = read(example).values()
    write(samples, tmp_path / "list")
    write(samples, tmp_path / "dict", as_published=True)
    now = document(tmp_path / "list", "LIVECell_single_cells/a172/train")
    then = document(tmp_path / "dict", "LIVECell_single_cells/a172/livecell_a172_train")
    assert then["annotations"] == {str(a["id"]): a for a in now["annotations"]}
    assert list(then) == list(now)
    assert {**then, "annotations": 0} == {**now, "annotations": 0}
    for name in ("LIVECell/livecell_coco_train", "LIVECell_dataset_size_split/4_train50percent"):
        assert document(tmp_path / "dict", name) == document(tmp_path / "list", name)
        assert isinstance(document(tmp_path / "dict", name)["annotations"], list)


def test_training_sets_contain_each_other_and_keep_the_types_in_proportion(tmp_path: Path) -> None:
    write(many(25), tmp_path / "out")
    whole = document(tmp_path / "out", "LIVECell/livecell_coco_train")
    types = Counter(i["file_name"].split("_")[0] for i in whole["images"])
    before: set[int] = set()
    for name, percent in SIZES.items():
        part = document(tmp_path / "out", f"LIVECell_dataset_size_split/{name}")
        numbers = {i["id"] for i in part["images"]}
        assert before <= numbers
        assert len(numbers) == len(part["images"]) == round(len(whole["images"]) * percent / 100)
        for kind, n in Counter(i["file_name"].split("_")[0] for i in part["images"]).items():
            assert abs(n - types[kind] * percent / 100) <= 1, (name, kind)
        chosen = [a for a in whole["annotations"] if a["image_id"] in numbers]
        assert sorted(part["annotations"], key=lambda a: a["id"]) == sorted(chosen, key=lambda a: a["id"])
        before = numbers


def test_the_seed_alone_decides_on_the_training_sets(tmp_path: Path) -> None:
    name = "annotations/LIVECell_dataset_size_split/1_train4percent.json"
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        write(many(10), tmp_path / out, seed=seed)
    a, b, c = ((tmp_path / out / name).read_bytes() for out in "abc")
    assert a == b
    assert a != c


def test_stock_pycocotools_reads_every_file_and_ids_are_of_one_sequence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(many(2, ("train", "val", "test")), tmp_path / "out")
    seen: set[int] = set()
    for part in ("train", "val", "test"):
        coco = COCO(str(tmp_path / "out" / "annotations" / "LIVECell" / f"livecell_coco_{part}.json"))
        numbers = {*coco.imgs, *coco.anns}
        assert len(numbers) == len(coco.imgs) + len(coco.anns)
        assert not numbers & seen
        seen |= numbers
    single = [COCO(str(p)) for p in sorted((tmp_path / "out").rglob("LIVECell_single_cells/*/test.json"))]
    assert [len(c.imgs) for c in single] == [2 * (1 + TYPES.index(t) % 3) for t in sorted(TYPES, key=str.lower)]
    capsys.readouterr()


def test_masks_become_polygons_with_a_stated_area_and_what_they_cannot_express_is_a_loss(tmp_path: Path) -> None:
    samples = [
        Sample(
            Image(s.image.image_id, *s.image.size, split="train", cell_type="SH-SY5Y"),
            s.instances.with_columns(score=None),
        )
        for s in corpus()
    ]
    loss = write(samples, tmp_path / "out")
    made = document(tmp_path / "out", "LIVECell_single_cells/shsy5y/train")
    by_name = {i["file_name"]: i["id"] for i in made["images"]}
    holes = 0
    for sample in samples:
        rows = [a for a in made["annotations"] if a["image_id"] == by_name[f"{to_name(sample.image.image_id)}.tif"]]
        plain = sample.instances.published_area is None and sample.instances.polygon is None
        masks = [m for m in sample.instances.masks() if m.any()]
        for row, mask, filled in zip(rows, masks, _filled(sample), strict=True):
            assert all(len(ring) >= 6 for ring in row["segmentation"])
            holes += bool((filled & ~mask).any())
            if plain:
                assert drawn(row, sample.image) == masks_of_coco.encode(np.asfortranarray(filled, np.uint8))["counts"]
                assert row["area"] == filled.sum()
    assert holes > 0
    assert loss.items["holes: cells whose holes were filled"] == holes


def drawn(row: Any, image: Image) -> Any:
    """Draw the polygons of a record with pycocotools."""
    return masks_of_coco.merge(masks_of_coco.frPyObjects(row["segmentation"], *image.size))["counts"]


def _filled(sample: Sample) -> list[Any]:
    """Return the masks of non-empty cells, with holes filled."""
    from scipy import ndimage

    return [ndimage.binary_fill_holes(m) for m in sample.instances.masks() if m.any()]


def test_images_of_no_part_are_for_training_and_unlabelled_ones_are_left_out(tmp_path: Path) -> None:
    samples = list(many(1, ("test",)))
    bare = [Sample(Image(f"x{k}", 20, 24, annotated=k > 1), s.instances) for k, s in enumerate(samples)]
    loss = write([*samples, *bare], tmp_path / "out")
    assert loss.items["split: images without a part (train, val, test) put into train"] == len(bare) - 2
    assert loss.items["unlabelled images: unannotated images left out"] == 2
    assert loss.items["cell type: images without one, which are only in the files of all types"] == len(bare) - 2
    train = document(tmp_path / "out", "LIVECell/livecell_coco_train")
    assert {i["file_name"] for i in train["images"]} == {f"{s.image.image_id}.tif" for s in bare[2:]}
    with pytest.raises(InputError, match="no image is annotated"):
        write(bare[:2], tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.real
def test_the_real_files_come_out_as_they_were_published(sample: Callable[[str], Path], tmp_path: Path) -> None:
    root = sample("livecell/LIVECell_dataset_2021")
    write(read(root).values(), tmp_path / "out")
    for part in ("val", "test"):
        name = f"LIVECell/livecell_coco_{part}"
        published, made = document(root, name), document(tmp_path / "out", name)
        assert list(made) == list(published)
        for key in ("info", "licenses", "categories"):
            assert made[key] == published[key], key
        for key in ("images", "annotations"):
            assert list(made[key][0]) == list(published[key][0])
            assert {r["id"]: r for r in made[key]} == {r["id"]: r for r in published[key]}
        of_image = [[a["id"] for a in made["annotations"] if a["image_id"] == i["id"]] for i in made["images"]]
        assert [a["id"] for a in made["annotations"]] == [k for group in of_image for k in group]
        for kind in {i["file_name"].split("_")[0] for i in published["images"]}:
            single = document(tmp_path / "out", f"LIVECell_single_cells/{kind.lower()}/{part}")
            images = {i["id"]: i for i in published["images"] if i["file_name"].startswith(f"{kind}_")}
            cells = {a["id"]: a for a in published["annotations"] if a["image_id"] in images}
            assert {i["id"]: i for i in single["images"]} == images
            assert {a["id"]: a for a in cells_of(single)} == cells
