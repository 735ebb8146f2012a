"""What celltable writes means the same to others: each format is decoded by its own rules, without celltable.

A round trip cannot see an error that writer and reader share, such as exchanged axes; these decoders can. They use
numpy, Pillow, tifffile, scipy, pycocotools and the standard library alone.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.io
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage

from celltable import plugins
from celltable.cells import Sample
from celltable.plugins import losses as kinds
from celltable.plugins.format import ConversionReport, Format
from celltable.testing.corpus import corpus

from .test_real_samples import RELEASES, Find, _read

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools, numpy 2

Mask = NDArray[np.bool_]
Masks = dict[str, list[Mask]]  # image → its cells in order
Maps = dict[str, NDArray[Any]]  # image → label map
SOURCES = ("corpus", "dsb2018", "kumar", "tnbc", "livecell", "pannuke")


@pytest.fixture(
    scope="module", params=[s if s == "corpus" else pytest.param(s, marks=pytest.mark.real) for s in SOURCES]
)
def samples(request: pytest.FixtureRequest, sample: Find) -> list[Sample]:
    """Cells numbered from 1 with classes of PanNuke, drawn as masks alone: what was published as polygon is not."""
    if request.param == "corpus":
        found = [s for s in corpus() if s.image.image_id in ("a-plain", "c-holes-parts", "d-overlap")]
    else:
        found = list(_read(request.param, sample(RELEASES[request.param].path)))
    return [_plain(s) for s in found if len(s.instances)]


def _plain(whole: Sample) -> Sample:
    full = np.flatnonzero(np.asarray(whole.instances.area) > 0)
    cells = whole.instances.take(full)
    names = [("Neoplastic", "Connective", "Epithelial")[k % 3] for k in range(len(cells))]
    numbers = np.arange(1, len(cells) + 1, dtype=np.int32)
    cells = cells.with_columns(
        polygon=None, published_area=None, published_bbox=None, class_name=names, instance_id=numbers, parent=None
    )
    return dataclasses.replace(whole, instances=cells)


def written(form: str, samples: list[Sample], folder: Path, **options: Any) -> tuple[Path, ConversionReport]:
    plugin: Format = plugins.load("formats", form)
    out = folder / ("out" + "".join(plugin.extensions[:1]))
    assert plugin.write is not None
    return out, plugin.write(iter(samples), out, **options)


def last_wins(sample: Sample) -> NDArray[np.int64]:
    """The label map by the rule that needs no library: later cells are painted over earlier ones."""
    painted = np.zeros(sample.image.size, np.int64)
    for k, mask in enumerate(sample.instances.masks()):
        painted[mask] = k + 1
    return painted


def inside(rings: list[list[list[float]]], size: tuple[int, int]) -> Mask:
    """Pixels whose centre lies inside an odd number of rings; coordinates count the edges of pixels from the corner."""
    crossings = np.zeros(size, int)
    centres = np.arange(size[1]) + 0.5
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
            if y0 == y1:
                continue
            low, high = sorted((y0, y1))
            for row in range(max(0, int(np.floor(low))), min(size[0], int(np.ceil(high)))):
                if low <= row + 0.5 < high:
                    crossings[row] += centres > x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    return np.asarray(crossings % 2 == 1)


# Label maps ----------------------------------------------------------------------------------------------------------


def _label_png(out: Path, samples: list[Sample]) -> Maps:
    return {p.stem: np.array(Picture.open(p)) for p in out.glob("*.png")}


def _label_tiff(out: Path, samples: list[Sample]) -> Maps:
    return {p.stem: tifffile.imread(p) for p in out.glob("*.tif")}


def _cellpose(out: Path, samples: list[Sample]) -> Maps:
    return {p.stem.removesuffix("_masks"): np.array(Picture.open(p)) for p in out.glob("*_masks.png")}


def _stardist(out: Path, samples: list[Sample]) -> Maps:
    assert {p.name for p in (out / "images").iterdir()} == {p.name for p in (out / "masks").iterdir()}
    return {p.stem: tifffile.imread(p) for p in (out / "masks").iterdir()}


def _hover_net(out: Path, samples: list[Sample]) -> Maps:
    types = json.loads((out / "type_info.json").read_text())
    maps = {}
    for path in (out / "Labels").glob("*.mat"):
        found = scipy.io.loadmat(path)
        maps[path.stem] = found["inst_map"]
        s = next(s for s in samples if s.image.image_id == path.stem)
        names = s.instances.column("class_name")
        for row, number in enumerate(n for n in np.unique(found["inst_map"]) if n):
            code = int(found["inst_type"][row, 0])
            assert types[str(code)][0] == names[int(number) - 1]
            assert set(np.unique(found["type_map"][found["inst_map"] == number])) == {code}
            y, x = np.nonzero(found["inst_map"] == number)
            assert found["inst_centroid"][row] == pytest.approx([x.mean(), y.mean()], abs=0.51)
    return maps


def _ome_zarr(out: Path, samples: list[Sample]) -> Maps:
    maps = {}
    for folder in out.glob("*.ome.zarr"):
        array = folder / "labels" / "cells" / "0"
        meta = json.loads((array / ".zarray").read_text())
        whole = np.zeros([-(-n // c) * c for n, c in zip(meta["shape"], meta["chunks"], strict=True)], meta["dtype"])
        rows, columns = meta["chunks"]
        for chunk in array.glob("[0-9]*/[0-9]*"):
            i, j = int(chunk.parent.name), int(chunk.name)
            values = np.frombuffer(zlib.decompress(chunk.read_bytes()), meta["dtype"]).reshape(rows, columns)
            whole[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns] = values
        maps[folder.name.removesuffix(".ome.zarr")] = whole[: meta["shape"][0], : meta["shape"][1]]
    return maps


LABEL_MAPS = {
    f.__name__[1:].replace("_", "-"): f for f in (_label_png, _label_tiff, _cellpose, _stardist, _hover_net, _ome_zarr)
}


@pytest.mark.parametrize("form", LABEL_MAPS)
def test_label_maps_hold_the_cell_that_was_painted_last(form: str, samples: list[Sample], tmp_path: Path) -> None:
    out, _ = written(form, samples, tmp_path)
    maps = LABEL_MAPS[form](out, samples)
    assert set(maps) == {s.image.image_id for s in samples}
    for s in samples:
        np.testing.assert_array_equal(maps[s.image.image_id], last_wins(s))


# Masks, each of its own ----------------------------------------------------------------------------------------------


def _coco(out: Path, samples: list[Sample]) -> Masks:
    api = COCO(str(out))
    names = {c["id"]: c["name"] for c in api.loadCats(api.getCatIds())}
    masks: Masks = {}
    for image in api.loadImgs(api.getImgIds()):
        found = api.loadAnns(api.getAnnIds(imgIds=image["id"], iscrowd=None))
        s = next(s for s in samples if s.image.image_id == Path(image["file_name"]).stem)
        assert [names[a["category_id"]] for a in found] == s.instances.column("class_name")
        assert [a["area"] for a in found] == s.instances.area.tolist()
        masks[s.image.image_id] = [api.annToMask(a).astype(bool) for a in found]
    return masks


def _dsb_csv(out: Path, samples: list[Sample]) -> Masks:
    sizes = {s.image.image_id: s.image.size for s in samples}
    masks: Masks = {}
    with out.open(newline="") as file:
        for row in csv.DictReader(file):
            height, width = sizes[row["ImageId"]]
            flat = np.zeros(height * width, bool)
            numbers = [int(n) for n in row["EncodedPixels"].split()]
            for start, length in zip(numbers[::2], numbers[1::2], strict=True):
                flat[start - 1 : start - 1 + length] = True
            masks.setdefault(row["ImageId"], []).append(flat.reshape(width, height).T)
    return masks


def _hpa_submission(out: Path, samples: list[Sample]) -> Masks:
    masks: Masks = {}
    with out.open(newline="") as file:
        for row in csv.DictReader(file):
            words = row["PredictionString"].split()
            for packed in words[2::3]:
                counts = zlib.decompress(base64.b64decode(packed))
                rle: Any = {"size": [int(row["ImageHeight"]), int(row["ImageWidth"])], "counts": counts}
                masks.setdefault(row["ID"], []).append(coco_mask.decode(rle).astype(bool))
    return masks


def _mask_folder(out: Path, samples: list[Sample]) -> Masks:
    return {
        folder.name: [
            np.array(Picture.open(p)) > 0 for p in sorted((folder / "masks").iterdir(), key=lambda p: int(p.stem))
        ]
        for folder in out.iterdir()
    }


def _hf_parquet(out: Path, samples: list[Sample]) -> Masks:
    masks: Masks = {}
    for path in [out] if out.is_file() else out.rglob("*.parquet"):
        for row in pq.read_table(path).to_pylist():
            size = [row["height"], row["width"]]
            picture = np.array(Picture.open(io.BytesIO(row["image"]["bytes"])))
            assert list(picture.shape[:2]) == size
            rles: list[Any] = [{"size": size, "counts": c["rle"]} for c in row["cells"]]
            masks[row["image_id"]] = [coco_mask.decode(r).astype(bool) for r in rles]
    return masks


def _geojson(out: Path, samples: list[Sample]) -> Masks:
    masks: Masks = {}
    for path in out.glob("*.geojson"):
        page = json.loads(path.read_text())
        size = (page["celltable"]["height"], page["celltable"]["width"])
        for feature in page["features"]:
            shape = feature["geometry"]
            several = shape["coordinates"] if shape["type"] == "MultiPolygon" else [shape["coordinates"]]
            for rings in several:
                assert all(ring[0] == ring[-1] for ring in rings), "RFC 7946: rings are closed"
            drawn = np.any([inside([ring[:-1] for ring in rings], size) for rings in several], axis=0)
            masks.setdefault(path.stem, []).append(drawn)
    return masks


def _labelme(out: Path, samples: list[Sample]) -> Masks:
    masks: Masks = {}
    for path in out.glob("*.json"):
        page = json.loads(path.read_text())
        size = (page["imageHeight"], page["imageWidth"])
        groups: dict[Any, Mask] = {}
        for shape in page["shapes"]:
            if shape["shape_type"] == "mask":
                (x0, y0), (x1, y1) = (map(int, point) for point in shape["points"])
                drawn = np.zeros(size, bool)
                patch = np.array(Picture.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
                assert patch.shape == (y1 - y0 + 1, x1 - x0 + 1)
                drawn[y0 : y1 + 1, x0 : x1 + 1] = patch
            else:
                drawn = inside([shape["points"]], size)
            groups[shape["group_id"]] = groups.get(shape["group_id"], np.zeros(size, bool)) | drawn
        masks[path.stem] = [groups[k] for k in sorted(groups)]
    return masks


SEPARATE = {
    f.__name__[1:].replace("_", "-"): f
    for f in (_coco, _dsb_csv, _hpa_submission, _mask_folder, _hf_parquet, _geojson, _labelme)
}


@pytest.mark.parametrize("form", SEPARATE)
def test_each_cell_has_its_own_mask_with_holes_and_parts(form: str, samples: list[Sample], tmp_path: Path) -> None:
    out, _ = written(form, samples, tmp_path)
    masks = SEPARATE[form](out, samples)
    assert set(masks) == {s.image.image_id for s in samples}
    for s in samples:
        assert len(masks[s.image.image_id]) == len(s.instances)
        for found, mask in zip(masks[s.image.image_id], s.instances.masks(), strict=True):
            np.testing.assert_array_equal(found, mask)


# One ring a cell -----------------------------------------------------------------------------------------------------


def _yolo_seg(out: Path, samples: list[Sample]) -> Masks:
    sizes = {s.image.image_id: s.image.size for s in samples}
    masks: Masks = {}
    for path in (out / "labels").rglob("*.txt"):
        height, width = sizes[path.stem]
        for line in path.read_text().splitlines():
            numbers = [float(n) for n in line.split()[1:]]
            ring = [[x * width, y * height] for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            masks.setdefault(path.stem, []).append(inside([ring], (height, width)))
    return masks


def _aperio_xml(out: Path, samples: list[Sample]) -> Masks:
    sizes = {s.image.image_id: s.image.size for s in samples}
    masks: Masks = {}
    for path in (out / "Annotations").glob("*.xml"):
        regions = sorted(ET.parse(path).iter("Region"), key=lambda region: int(region.attrib["Id"]))
        for region in regions:
            ring = [[float(v.attrib["X"]), float(v.attrib["Y"])] for v in region.iter("Vertex")]
            masks.setdefault(path.stem, []).append(inside([ring], sizes[path.stem]))
    return masks


ONE_RING = {"yolo-seg": _yolo_seg, "aperio-xml": _aperio_xml}


@pytest.mark.parametrize("form", ONE_RING)
def test_one_ring_a_cell_is_its_largest_part_and_filled_holes_are_counted(
    form: str, samples: list[Sample], tmp_path: Path
) -> None:
    out, loss = written(form, samples, tmp_path)
    masks = ONE_RING[form](out, samples)
    filled = 0
    for s in samples:
        for found, mask in zip(masks[s.image.image_id], s.instances.masks(), strict=True):
            parts, n = ndimage.label(mask)
            largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])) if n > 1 else mask
            filled += not np.array_equal(found, largest)
            assert np.array_equal(found, largest) or np.array_equal(found, ndimage.binary_fill_holes(largest))
    assert loss.items[kinds.HOLES] == filled


# Pictures ------------------------------------------------------------------------------------------------------------

WITH_PICTURES = ("cellpose", "stardist", "hover-net", "yolo-seg", "labelme", "mask-folder", "aperio-xml")


@pytest.mark.parametrize("form", WITH_PICTURES)
def test_pillow_opens_the_pictures_and_sees_the_same_values(form: str, samples: list[Sample], tmp_path: Path) -> None:
    out, loss = written(form, samples, tmp_path)
    assert kinds.PIXELS not in loss.items
    assert kinds.PIXELS_CHANGED not in loss.items
    pictures = {p.stem: p for p in out.rglob("*") if p.suffix in (".png", ".tif") and p.parent.name not in ("masks",)}
    for s in samples:
        found, expected = np.array(Picture.open(pictures[s.image.image_id])), s.pixels()
        np.testing.assert_array_equal(found, expected[..., 0] if expected.shape[2:] == (1,) else expected)


# Classes in channels and colours -------------------------------------------------------------------------------------

CHANNELS = ("Neoplastic", "Inflammatory", "Connective", "Dead", "Epithelial")


def test_pannuke_arrays_have_a_channel_a_class_and_the_background_last(samples: list[Sample], tmp_path: Path) -> None:
    same = [s for s in samples if s.image.size == samples[0].image.size]
    out, _ = written("pannuke-npy", same, tmp_path)
    masks = np.load(next(out.rglob("masks.npy")), allow_pickle=False)
    assert masks.dtype == np.dtype("<f8")
    assert masks.shape == (len(same), *same[0].image.size, 6)
    for s, found in zip(same, masks, strict=True):
        for channel, name in enumerate(CHANNELS):
            painted = np.zeros(s.image.size)
            for k, (mask, own) in enumerate(zip(s.instances.masks(), s.instances.column("class_name"), strict=True)):
                if own == name:
                    painted[mask] = k + 1
            np.testing.assert_array_equal(found[..., channel], painted)
        np.testing.assert_array_equal(found[..., 5] > 0, ~(found[..., :5] > 0).any(axis=-1))


def test_the_colours_of_imagemask_are_those_of_the_published_generator(samples: list[Sample], tmp_path: Path) -> None:
    colours = {"Neoplastic": (0, 255, 0), "Connective": (255, 0, 0), "Epithelial": (255, 255, 0)}  # version 1
    out, _ = written("image-mask-png", samples, tmp_path)
    with (out / "ids.csv").open(newline="") as file:
        places = {row[2]: (row[0], row[1]) for row in list(csv.reader(file))[1:]}
    for s in samples:
        number, part = places[s.image.image_id]
        found = np.array(Picture.open(out / part / "masks" / f"{number}.png").convert("RGB"))
        expected = np.zeros((*s.image.size, 3), np.uint8)
        for mask, name in zip(s.instances.masks(), s.instances.column("class_name"), strict=True):
            expected[mask] = colours[name]
        np.testing.assert_array_equal(found, expected)


def test_every_format_that_is_written_is_decoded_here() -> None:
    here: dict[str, Callable[..., Any]] = {**LABEL_MAPS, **SEPARATE, **ONE_RING}
    others = {"pannuke-npy", "image-mask-png"}
    elsewhere = {"nuclei-coco", "livecell"}  # COCO in layouts of their own
    names = {n for n in plugins.names("formats") if plugins.load("formats", n).write is not None}
    assert names - set(here) - others - elsewhere == set()
