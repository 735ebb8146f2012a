"""Items for training against masks painted by hand; the same items as tensors, in one process and in several."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from celltable.cells import Image, Instances, Pixels, Sample
from celltable.errors import NotFoundError
from celltable.pipelines.convert import export, import_annotations
from celltable.pipelines.torch_dataset import torch_dataset, training_items
from celltable.store import Store, StoreWriter

SIZE = (12, 16)


def box(top: int, left: int, bottom: int, right: int) -> Any:
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Make images a (complete), b (partial annotation), c (unlabelled), d (ignored), e (16 bit, colour, empty)."""
    masks = [box(1, 1, 5, 5), box(4, 4, 9, 9), box(8, 10, 12, 16), box(0, 12, 3, 16)]
    columns: dict[str, Any] = {
        "class_name": ["round", None, "flat", "round"], "ignore": [False, False, True, False],
        "crowd": [False, False, False, True], "instance_id": [4, 9, 11, 20],
    }  # fmt: skip
    cells = Instances.from_masks(masks, SIZE, **columns)
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path / "s", {"made": 1}) as writer:
        (writer.extra / "pixels").mkdir()
        for name in "abcde":
            pixels = rng.integers(0, 255, SIZE).astype(np.uint8)
            if name == "e":
                pixels = rng.integers(0, 65535, (*SIZE, 3)).astype(np.uint16)
            np.save(writer.extra / "pixels" / f"{name}.npy", pixels)
            image = Image(
                name, *SIZE, (Pixels("", f"pixels/{name}.npy"),), "made", annotated=name != "c",
                exhaustive=name != "b", ignore=name == "d", split="test" if name == "e" else "train",
            )  # fmt: skip
            writer.append(Sample(image, Instances.empty(SIZE) if name == "e" else cells))
        return writer.finish({"name": "made", "classes": ["flat", "round"], "sources": {}})


def test_an_item_says_what_may_be_learnt_and_where(store: Store) -> None:
    items = {item["image_id"]: item for item in training_items(store)}
    assert list(items) == ["a", "b", "e"], "neither unlabelled nor ignored images"
    expected = np.zeros(SIZE, np.int32)
    expected[1:5, 1:5], expected[4:9, 4:9] = 1, 2
    unknown = (box(8, 10, 12, 16) | box(0, 12, 3, 16)) & (expected == 0)
    for name in "ab":
        item = items[name]
        assert item["label_map"].dtype == np.int32
        assert (item["label_map"] == expected).all()
        assert item["class_index"].tolist() == [1, -1]
        assert (item["image"] == store[name].pixels).all()
    assert (items["a"]["valid"] == ~unknown).all()
    assert (items["b"]["valid"] == (expected > 0)).all(), "with partial annotation only annotated cells are known"
    assert items["e"]["valid"].all()
    assert not items["e"]["label_map"].any()
    assert len(items["e"]["class_index"]) == 0


def test_epochs_are_shuffled_by_the_seed_and_conditions_choose_images(store: Store) -> None:
    def order(**options: Any) -> list[str]:
        return [item["image_id"] for item in training_items(store, **options)]

    assert order(epochs=2) == ["a", "b", "e"] * 2
    first = order(shuffle=True, seed=1, epochs=20)
    assert first == order(shuffle=True, seed=1, epochs=20)
    assert first != order(shuffle=True, seed=2, epochs=20)
    epochs = [tuple(first[k : k + 3]) for k in range(0, 60, 3)]
    assert all(sorted(e) == ["a", "b", "e"] for e in epochs)
    assert len(set(epochs)) > 1
    assert order(where="split = 'test'") == ["e"]
    with pytest.raises(NotFoundError, match="no image meets the condition"):
        order(where="split = 'none'")


def test_tensors_are_the_items_with_channels_first(store: Store) -> None:
    import torch

    dataset = torch_dataset(store)
    assert len(dataset) == 3
    for tensors, item in zip((dataset[k] for k in range(3)), training_items(store), strict=True):
        assert tensors["image_id"] == item["image_id"]
        assert (tensors["label_map"].numpy() == item["label_map"]).all()
        assert (tensors["valid"].numpy() == item["valid"]).all()
        assert tensors["class_index"].dtype == torch.int64
    assert (dataset[0]["image"].dtype, tuple(dataset[0]["image"].shape)) == (torch.uint8, (1, *SIZE))
    assert (dataset[2]["image"].dtype, tuple(dataset[2]["image"].shape)) == (torch.int32, (3, *SIZE))
    assert (np.moveaxis(dataset[2]["image"].numpy(), 0, -1) == store["e"].pixels).all()


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_loader_workers_give_the_same_tensors(store: Store, context: str) -> None:
    import torch

    dataset = torch_dataset(store, where="split = 'train'")
    assert len(pickle.loads(pickle.dumps(dataset))) == 2
    dataset[0]
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=2, multiprocessing_context=context
    )  # fmt: skip
    found = list(loader)
    assert [item["image_id"] for item in found] == ["a", "b"]
    assert all((item["label_map"] == dataset[k]["label_map"]).all() for k, item in enumerate(found))


def test_cells_of_imported_annotations_have_their_class(store: Store, tmp_path: Path) -> None:
    export(store, "coco", tmp_path / "out.json")
    back = import_annotations("coco", tmp_path / "out.json", tmp_path / "back", images=store)
    alone = import_annotations("coco", tmp_path / "out.json", tmp_path / "alone")
    assert back.description.classes == store.description.classes == ("flat", "round")
    assert alone.description.classes == ("round", "flat"), "the order of the categories in the file"
    assert next(training_items(back))["class_index"].tolist() == [1, -1]
    assert (next(training_items(back))["image"] == store["a"].pixels).all(), "pixels that the other store contains"
