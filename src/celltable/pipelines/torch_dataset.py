"""Serve images and cells to training loops: as a plain iterator, or as a PyTorch dataset of the same samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Sample
from celltable.errors import MissingExtraError
from celltable.store import Store, as_store, open_store

from .convert import selected

Item = dict[str, Any]


def training_items(
    store: Store | str | Path, *, where: str | None = None, shuffle: bool = False, seed: int = 0, epochs: int = 1
) -> Iterator[Item]:
    """Yield each image as a dict: ``image`` (row, column[, channel]), ``label_map`` int32, ``classes``, ``valid``, ….

    See `item` for the keys. Ignored and unlabelled images are left out. With `shuffle`, each epoch has its own order.
    """
    ds = as_store(store)
    ids = usable(ds, where)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(len(ids)) if shuffle else np.arange(len(ids))
        for k in order.tolist():
            yield item(ds[ids[k]].sample, ds.description.classes)


def usable(ds: Store, where: str | None) -> list[str]:
    """Return the ids of the images that may be used for training."""
    condition = "annotated and not ignore" + (f" and ({where})" if where else "")
    return selected(ds, condition)


def item(sample: Sample, classes: Sequence[str] = ()) -> Item:
    """Prepare one image for training.

    Returns
    -------
    dict
        ``image_id``; ``image`` as published; ``label_map`` int32 (row, column), 0 for background; ``class_index``
        int64 (cells,), position in `classes` or -1, for labels 1..n; ``labels`` of the image; ``exhaustive``: where it
        is False, absence is not background, and ``valid`` bool (row, column) is True only on annotated cells. Cells
        marked ignore or crowd are not in the label map and not valid.
    """
    cells = sample.instances
    skip = np.asarray(cells.column("ignore"), bool) | np.asarray(cells.column("crowd"), bool)
    kept = cells.take(~skip).with_columns(instance_id=None)
    label_map = kept.label_map().label_map.astype(np.int32)
    valid = label_map > 0 if not sample.image.exhaustive else np.ones(cells.size, bool)
    if skip.any():
        valid = valid & ((cells.take(skip).label_map().label_map == 0) | (label_map > 0))
    index = {name: k for k, name in enumerate(classes)}
    return {
        "image_id": sample.image.image_id,
        "image": sample.pixels(),
        "label_map": label_map,
        "class_index": np.array([index.get(c, -1) for c in kept.column("class_name")], np.int64),
        "labels": sample.image.labels or (),
        "exhaustive": sample.image.exhaustive,
        "valid": valid,
    }


def torch_dataset(
    store: Store | str | Path, *, where: str | None = None, transform: Callable[[Item], Item] | None = None
) -> Any:
    """A map-style ``torch.utils.data.Dataset`` over the images of a store (needs the extra ``train``).

    Items are those of `item` with arrays as tensors: ``image`` (channel, row, column) in its own type if torch
    has it (uint16 becomes int32), ``label_map`` int32, ``valid`` bool. `transform` gets the item before the conversion.
    Each worker process opens the store itself, so that any number of loader workers can be used.
    """
    try:
        import torch
    except ImportError as exc:
        raise MissingExtraError("torch_dataset needs PyTorch: pip install 'celltable[train]'") from exc

    path = store.path if isinstance(store, Store) else Path(store)
    ids = usable(open_store(path), where)

    class StoreDataset(torch.utils.data.Dataset[Any]):
        """A map-style dataset over the images of a celltable store and their label maps."""

        def __init__(self) -> None:
            self._opened: Store | None = None
            self._process = 0

        def __len__(self) -> int:
            return len(ids)

        def __getitem__(self, k: int) -> Item:
            if self._opened is None or self._process != os.getpid():
                self._opened, self._process = open_store(path), os.getpid()
            found = item(self._opened[ids[k]].sample, self._opened.description.classes)
            found = transform(found) if transform is not None else found
            return {name: _tensor(name, value) for name, value in found.items()}

        def __reduce__(self) -> tuple[Any, ...]:
            return _again, (str(path.resolve()), where, transform)

    def _tensor(name: str, value: Any) -> Any:
        return torch.from_numpy(_torch_ready(name, value)) if isinstance(value, np.ndarray) else value

    return StoreDataset()


def _again(path: str, where: str | None, transform: Callable[[Item], Item] | None) -> Any:
    """Tell pickle how to recreate the dataset in another process."""
    return torch_dataset(path, where=where, transform=transform)


def _torch_ready(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if name == "image":
        array = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    if array.dtype in (np.uint16, np.uint32):
        array = array.astype(np.int32 if array.dtype == np.uint16 else np.int64)
    return np.array(array)  # writable and contiguous: torch must not see a read-only map
