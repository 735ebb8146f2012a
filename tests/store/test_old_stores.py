"""Stores written by earlier versions stay in the repository and are read with their original contents.

``python tests/store/test_old_stores.py`` writes the fixture of the present schema version; an existing one is kept.
"""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from celltable import schema
from celltable.cells import Edit, Finding, Image, Instances, Pixels, Sample
from celltable.store import Store, StoreWriter, open_store
from celltable.store.edits import edits_table

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
COLUMNS = [f.name for f in fields(Finding)]
INFO = {"name": "toy", "title": "Tøy cells", "licence": "CC0 1.0", "sources": {}, "history": ["made by hand"]}


def pixels(k: int) -> np.ndarray:
    return (np.arange(30, dtype=np.uint16).reshape(5, 6) * (k + 1) * 37) % 4096


def masks() -> list[np.ndarray]:
    """Draw two cells that share a pixel, one with a hole, one of two parts."""
    drawn = np.zeros((3, 5, 6), bool)
    drawn[0, 0:3, 0:3], drawn[0, 1, 1] = True, False
    drawn[1, 2:5, 2:5] = True
    drawn[2, 0, 5] = drawn[2, 4, 0] = True
    return list(drawn)


def samples() -> list[Sample]:
    """Make an image that uses every column, and one without cells."""
    where = [(Pixels("", f"pixels/toy/{k}.npy", role="dna"),) for k in (0, 1)]
    full = Image(
        "a/ä 1", 5, 6, pixels=where[0], dataset="toy", channels=("dna",), dtype="uint16", modality="fluorescence",
        image_class="small", tissue="liver", cell_type="HeLa", split="train", leakage_group="plate 1",
        group_source="published", labels=("Nucleoli", "Cytosol"), count=3.5, magnification=20.0, pixel_size_um=0.5,
        exhaustive=False, metadata={"well": "B2", "z": "1"},
    )  # fmt: skip
    cells = Instances.from_masks(
        masks(), (5, 6), instance_id=[1, 4, 7], kind=["cell", "nucleus", "nucleus"], parent=[None, 1, None],
        class_name=["x", None, "y"], class_names=[["x", "z"], None, ["y"]], class_scores=[[0.5, 0.25], None, [1.0]],
        polygon=[b"\x01\x02", None, b""], published_area=[8.25, None, 2.0],
        published_bbox=[[0.0, 0.0, 3.5, 3.0], None, None], score=[0.5, 0.25, 1.0], ignore=[False, True, False],
        crowd=[False, False, True], truncated=[True, False, False], annotator=["A", "B", "A"],
        source_id=["17", None, "mask ö"],
    )  # fmt: skip
    findings = (Finding("several-components", "two parts", "note", full.image_id, 7, 2.0),)
    empty = Image("b", 5, 6, pixels=where[1], dataset="toy", dtype="uint16", annotated=False, ignore=True)
    return [Sample(full, cells, findings), Sample(empty, Instances.empty((5, 6)))]


def make(path: Path) -> Store:
    with StoreWriter(path, {}) as writer:
        folder = writer.extra / "pixels" / "toy"
        folder.mkdir(parents=True)
        for k, sample in enumerate(samples()):
            np.save(folder / f"{k}.npy", pixels(k))
            writer.append(sample)
        store = writer.finish(INFO)
    cell = store["a/ä 1"].instances.take([1])
    removed = edits_table([Edit("by-hand", "a/ä 1", 4, "an example", cell, None)])
    store.edit(removed, done="removed a cell", compact=True).undo(
        compact=False
    )  # what is pending belongs to the format
    return store.fresh()


@pytest.fixture(params=range(1, schema.VERSION + 1))
def old(request: pytest.FixtureRequest) -> Store:
    return open_store(FIXTURES / f"store_v{request.param}.celltable")


def test_images_of_an_old_store_come_back_whole(old: Store) -> None:
    assert [old.image(i) for i in old] == [s.image for s in samples()]
    assert {k: old.info[k] for k in INFO if k != "history"} == {k: v for k, v in INFO.items() if k != "history"}
    assert old.description.history[0] == "made by hand"


def test_cells_of_an_old_store_come_back_whole(old: Store) -> None:
    for sample in samples():
        found = old[sample.image.image_id].instances
        assert len(found) == len(sample.instances)
        for name in schema.INSTANCES.names:
            if name != "image_id" and not name.startswith("bbox"):
                assert found.column(name) == sample.instances.column(name), name
        np.testing.assert_array_equal(found.bbox, sample.instances.bbox)
    for mask, expected in zip(old["a/ä 1"].masks, masks(), strict=True):
        np.testing.assert_array_equal(mask, expected)


def test_pixels_and_findings_of_an_old_store_come_back_whole(old: Store) -> None:
    for k, image_id in enumerate(old):
        np.testing.assert_array_equal(old[image_id].pixels, pixels(k))
    assert [Finding(**row) for row in old.findings.arrow.select(COLUMNS).to_pylist()] == list(samples()[0].findings)


def test_an_old_store_can_be_queried_and_changed(old: Store, tmp_path: Path) -> None:
    copy = open_store(shutil.copytree(old.path, tmp_path / "s.celltable"))
    assert copy.query("select sum(area)::int as n from instances").to_pylist() == [{"n": 8 + 9 + 2}]
    kept = copy.instances.arrow.filter(pa.array([True, False, True]))
    assert copy.update({"instances": kept})["a/ä 1"].instances.ids.tolist() == [1, 7]


def test_what_is_written_now_has_the_schema_of_the_fixture(tmp_path: Path) -> None:
    """A changed schema needs a new version and a new fixture."""
    new, old = make(tmp_path / "s.celltable"), open_store(FIXTURES / f"store_v{schema.VERSION}.celltable")
    for name in schema.TABLES:
        assert getattr(new, name).arrow.equals(getattr(old, name).arrow)
        assert getattr(new, name).schema.equals(getattr(old, name).schema, check_metadata=True)


if __name__ == "__main__":
    make(FIXTURES / f"store_v{schema.VERSION}.celltable")
