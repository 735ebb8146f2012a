"""OME-Zarr against the zarr library and the models of the specification: each opens what the other wrote."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError
from celltable.formats import ome_zarr
from celltable.testing.corpus import disc, picture

zarr = pytest.importorskip("zarr")
SIZE = (70, 1100)  # more than one chunk wide
pytestmark = pytest.mark.filterwarnings("default")  # of other libraries


@pytest.fixture
def cells() -> Instances:
    masks = [disc(SIZE, 20, 30, 12), disc(SIZE, 40, 1020, 18), disc(SIZE, 60, 600, 9)]
    found = Instances.from_masks(masks, SIZE, kind="cell")
    return found.with_columns(class_name=["a", "b", "a"], score=[0.5, 0.25, 1.0])


@pytest.fixture
def written(tmp_path: Path, cells: Instances) -> tuple[Path, NDArray[Any]]:
    pixels = picture(SIZE, 3, "uint16", 4)
    image = Image("a b", *SIZE, channels=("red", "green", "blue", "yellow"), dtype="uint16", pixel_size_um=0.5)
    ome_zarr.write([Sample(image, cells, (), lambda: pixels)], tmp_path / "out")
    (group,) = (tmp_path / "out").glob("*.ome.zarr")
    return group, pixels


def test_zarr_opens_the_pixels_and_the_labels(written: tuple[Path, NDArray[Any]], cells: Instances) -> None:
    path, pixels = written
    group = zarr.open_group(str(path), mode="r")
    assert group.metadata.zarr_format == 2
    assert np.array_equal(group["0"][:], np.moveaxis(pixels, 2, 0))
    labels = group["labels/cells/0"][:]
    assert labels.shape == SIZE
    for number, mask in zip(cells.ids.tolist(), cells.masks(), strict=True):
        assert np.array_equal(labels == number, mask)
    assert group["labels"].attrs["labels"] == ["cells"]


def test_the_models_of_the_specification_accept_image_and_labels(written: tuple[Path, NDArray[Any]]) -> None:
    models = pytest.importorskip("ome_zarr_models.v04")
    path, _ = written
    image = models.Image.from_zarr(zarr.open_group(str(path), mode="r"))
    (scales,) = image.attributes.multiscales
    assert [a.name for a in scales.axes] == ["c", "y", "x"]
    assert scales.datasets[0].coordinateTransformations[0].scale == [1.0, 0.5, 0.5]
    label = models.ImageLabel.from_zarr(zarr.open_group(str(path / "labels" / "cells"), mode="r"))
    about = label.attributes.image_label
    assert about.source.image == "../../"
    assert [p.label_value for p in about.properties] == [1, 2, 3]


@pytest.mark.parametrize("codec", ["Zlib", "GZip", "Zstd", "Blosc", None])
@pytest.mark.parametrize(("dtype", "separator"), [("uint8", "/"), (">u2", "."), ("uint32", "/"), ("int64", ".")])
def test_labels_that_zarr_wrote_are_read(
    written: tuple[Path, NDArray[Any]], cells: Instances, codec: str | None, dtype: str, separator: str
) -> None:
    numcodecs = pytest.importorskip("numcodecs")
    path, _ = written
    labels = zarr.open_group(str(path), mode="r")["labels/cells/0"][:]
    shutil.rmtree(path / "labels" / "cells" / "0")
    array = zarr.create_array(
        str(path / "labels" / "cells" / "0"), shape=SIZE, chunks=(32, 500), dtype=dtype, zarr_format=2, fill_value=0,
        compressors=None if codec is None else getattr(numcodecs, codec)(),
        chunk_key_encoding={"name": "v2", "separator": separator},
    )  # fmt: skip
    array[:] = labels
    (found,) = ome_zarr.read(path)
    assert found.findings == ()
    assert list(found.instances.rle) == list(cells.rle)
    assert found.instances.column("class_name") == ["a", "b", "a"]


def test_zarr_3_is_refused_in_one_sentence(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "x.ome.zarr"), mode="w", zarr_format=3)
    group.create_array("0", shape=(4, 4), dtype="uint8")
    with pytest.raises(InputError, match=r"Zarr 3 \(OME-Zarr 0.5\)"):
        list(ome_zarr.read(tmp_path))
