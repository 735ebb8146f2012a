"""COCO annotations: instances or results, masks as run lengths or polygons, one JSON file for all images."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

import msgspec
import numpy as np

from celltable.errors import InputError
from celltable.geometry import rle
from celltable.records import Image, Instances, Sample

from . import Format, Loss
from ._coco_json import Numbers, extra_keys, kind_of, load
from ._coco_read import read
from ._loss import GIVEN_SCORE, tally
from ._out import new_file, new_folder, to_name
from ._pixels import encode, write_bytes
from ._polygons import mask_polygons, parts_of

KEEPS: Final = frozenset(
    {
        *("overlap", "holes", "components", "ids", "classes", "multi-class", "scores", "crowd", "kind", "exact-mask"),
        *("polygons", "image-size", "empty-images", "details", "image-details"),
    }
)
RESULTS_KEEP: Final = frozenset({"overlap", "holes", "components", "classes", "scores", "exact-mask"})
SEGMENTATIONS: Final = ("auto", "rle", "uncompressed", "polygon")
LAYOUTS: Final = ("instances", "results", "fiftyone")


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    layout: str = "instances",
    segmentation: str = "auto",
    ids: str = "auto",
    like: Path | None = None,
    overwrite: bool = False,
) -> Loss:
    """Write one COCO JSON, or a folder of images with one.

    Parameters
    ----------
    layout
        ``instances`` (a data set), ``results`` (a list of predictions, as pycocotools' ``loadRes`` takes it) or
        ``fiftyone`` (a folder: ``data/`` with the images, ``labels.json``).
    segmentation
        ``auto`` (the published polygon where there is one, else compressed run lengths), ``rle``, ``uncompressed``
        (run lengths as numbers) or ``polygon`` (outlines of the masks; a cell with a hole stays run lengths).
    ids
        ``auto`` keeps the annotation ids of images that came from COCO, except 0, which stock evaluation never matches,
        and repeated ones; ``published`` keeps 0 too; ``new`` counts from 1.
    like
        A COCO JSON whose info, licenses and categories (with their ids) are taken over.
    """
    _check("layout", layout, LAYOUTS)
    _check("segmentation", segmentation, SEGMENTATIONS)
    _check("ids", ids, ("auto", "published", "new"))
    if layout == "fiftyone":
        with new_folder(out, overwrite) as folder:
            (folder / "data").mkdir()
            return _Writer(segmentation, ids, like, folder / "data").write(samples, folder / "labels.json")
    with new_file(out, overwrite) as path:
        writer = _Writer(segmentation, ids, like, None)
        return writer.write_results(samples, path) if layout == "results" else writer.write(samples, path)


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"{name} is '{value}'; expected one of {', '.join(allowed)}")


class _Writer:
    """One COCO file in the making: annotations wait in a temporary file until the images are through."""

    def __init__(self, segmentation: str, ids: str, like: Path | None, data: Path | None) -> None:
        self.loss = Loss()
        self.segmentation, self.ids, self.data = segmentation, ids, data
        self.image_numbers, self.cell_numbers = Numbers(), Numbers()
        self.head = _head(like)
        self.categories: dict[str, int] = {c["name"]: c["id"] for c in self.head["categories"]}
        self.category_kinds: dict[str, str] = {c["name"]: kind_of(c) for c in self.head["categories"]}
        self.stems: set[str] = set()

    def write(self, samples: Iterable[Sample], path: Path) -> Loss:
        with tempfile.TemporaryFile(dir=path.parent) as images, tempfile.TemporaryFile(dir=path.parent) as cells:
            for sample in samples:
                self._add(sample, images, cells)
            with path.open("wb") as stream:
                head = b",\n".join(msgspec.json.encode(k) + b":" + msgspec.json.encode(v) for k, v in self.head.items())
                stream.write(b"{" + head + b',\n"images":[')
                _append(images, stream)
                stream.write(b'],\n"annotations":[')
                _append(cells, stream)
                stream.write(b"]}\n")
        self.loss.written["files"] += 1
        return self.loss

    def write_results(self, samples: Iterable[Sample], path: Path) -> Loss:
        with tempfile.TemporaryFile(dir=path.parent) as cells, path.open("wb") as stream:
            for sample in samples:
                number = self._image_number(sample.image)
                keeps = RESULTS_KEEP | ({"empty-images"} if len(sample.instances) else set())
                tally(self.loss, sample, keeps)
                scores = sample.instances.column("score")
                self.loss.add(GIVEN_SCORE, sum(s is None for s in scores))
                records = []
                for row, score in zip(self._annotations(sample, number), scores, strict=True):
                    picked = {k: row[k] for k in ("image_id", "category_id", "segmentation")}
                    records.append({**picked, "score": 1.0 if score is None else score})
                _spool(cells, records)
            stream.write(b"[")
            _append(cells, stream)
            stream.write(b"]\n")
        self.loss.written["files"] += 1
        return self.loss

    def _add(self, sample: Sample, images: IO[bytes], cells: IO[bytes]) -> None:
        keeps = KEEPS if self.segmentation == "auto" else KEEPS - {"polygons"}
        keeps = keeps | {"pixels"} if self.data is not None else keeps
        tally(self.loss, sample, keeps)
        image, number = sample.image, self._image_number(sample.image)
        name = self._write_pixels(sample) or _file_name(image)
        record = {"id": number, "file_name": name, "height": image.height, "width": image.width}
        stem = PurePosixPath(name).stem
        if stem != image.image_id or stem in self.stems:
            record["celltable_id"] = image.image_id
        self.stems.add(stem)
        _spool(images, [record | extra_keys(image)])
        _spool(cells, self._annotations(sample, number))

    def _write_pixels(self, sample: Sample) -> str:
        if self.data is None or sample.load_pixels is None:
            return ""
        data, ending = encode(sample.pixels())
        name = to_name(sample.image.image_id) + ending
        write_bytes(self.data / name, data)
        self.loss.written["files"] += 1
        return name

    def _image_number(self, image: Image) -> int:
        published = image.metadata.get("coco_id", "") if self.ids != "new" else ""
        return self.image_numbers.take(published, lowest=0)

    def _annotations(self, sample: Sample, image_number: int) -> list[dict[str, Any]]:
        cells = sample.instances
        from_coco = self.ids == "published" or (self.ids == "auto" and "coco_id" in sample.image.metadata)
        sources = cells.column("source_id")
        lowest = 0 if self.ids == "published" else 1
        numbers = [self.cell_numbers.take(s if from_coco else "", lowest) for s in sources]
        columns = _Columns(cells)
        shapes = self._segmentations(sample)
        rows = []
        for k, (number, shape) in enumerate(zip(numbers, shapes, strict=True)):
            row = {"id": number, "image_id": image_number, "category_id": self._category(columns, k)}
            row |= {"iscrowd": int(columns.crowd[k]), "area": columns.area[k], "bbox": columns.bbox[k]}
            row["segmentation"] = shape
            if columns.extras:
                row |= columns.extra(k)
            if columns.names[k] in ("nucleus", "cell"):
                row["class_name"] = columns.names[k]
            if columns.kind[k] != self.category_kinds[columns.name(k)]:
                row["kind"] = columns.kind[k]
            if columns.sources and columns.sources[k] not in (None, str(number)):
                row["source_id"] = columns.sources[k]
            rows.append(row)
        return rows

    def _category(self, columns: _Columns, k: int) -> int:
        name = columns.name(k)
        if name not in self.categories:
            number = max(self.categories.values(), default=0) + 1
            self.categories[name], self.category_kinds[name] = number, columns.kind[k]
            self.head["categories"].append({"supercategory": columns.kind[k], "id": number, "name": name})
        return self.categories[name]

    def _segmentations(self, sample: Sample) -> list[Any]:
        cells = sample.instances
        size = [int(n) for n in cells.size]
        if self.segmentation == "polygon":
            return [mask_polygons(c, cells.size) or {"size": size, "counts": c.decode("ascii")} for c in cells.rle]
        if self.segmentation == "uncompressed":
            return [{"size": size, "counts": rle.to_uncompressed(c)} for c in cells.rle]
        texts: list[Any] = [{"size": size, "counts": c.decode("ascii")} for c in cells.rle]
        if self.segmentation == "auto" and cells.polygon is not None:
            for k, packed in enumerate(cells.polygon):
                if packed is not None:
                    texts[k] = parts_of(packed)
        return texts


class _Columns:
    """The columns of one image's cells as COCO wants them, looked up by position."""

    EXTRA: Final = {"parent": None, "ignore": False, "truncated": False, "annotator": None, "score": None}

    def __init__(self, cells: Instances) -> None:
        n = len(cells)
        self.kind = cells.column("kind")
        self.names = cells.column("class_name")
        self.crowd = cells.column("crowd")
        self.area = np.asarray(cells.area).tolist()
        self.bbox = np.asarray(cells.bbox).reshape(n, 4).tolist()
        _overlay(self.area, cells.published_area)
        _overlay(self.bbox, cells.published_bbox)
        self.sources = None if cells.source_id is None else cells.column("source_id")
        self.extras: dict[str, list[Any]] = {}
        for name, plain in self.EXTRA.items():
            value = getattr(cells, name)
            if value is not None and value is not plain:
                self.extras[name] = [None if v == plain else v for v in cells.column(name)]
        if cells.instance_id is not None and (cells.ids != np.arange(1, n + 1)).any():
            self.extras["instance_id"] = cells.ids.tolist()
        for name in ("class_names", "class_scores"):
            if getattr(cells, name) is not None:
                self.extras[name] = cells.column(name)

    def name(self, k: int) -> str:
        """The category: the class, or nucleus or cell where a cell has none."""
        return self.names[k] or self.kind[k]

    def extra(self, k: int) -> dict[str, Any]:
        """Keys beside those of COCO, only where they say something."""
        found = {name: values[k] for name, values in self.extras.items() if values[k] is not None}
        if "ignore" in found:
            found["ignore"] = int(found["ignore"])
        return found


def _overlay(plain: list[Any], published: Any) -> None:
    for k, value in enumerate(published if published is not None else ()):
        if value is not None:
            plain[k] = value


def _head(like: Path | None) -> dict[str, Any]:
    if like is None:
        return {"info": {"description": "written by celltable"}, "licenses": [], "categories": []}
    found = load(Path(like))
    return {"info": {}, "licenses": [], **found.head, "categories": [dict(c) for c in found.categories]}


def _file_name(image: Image) -> str:
    if "file_name" in image.metadata:
        return image.metadata["file_name"]
    if len(image.pixels) == 1 and image.pixels[0].index is None:
        return PurePosixPath(image.pixels[0].member).name
    return to_name(image.image_id) + ".png"


def _spool(stream: IO[bytes], records: Sequence[Mapping[str, Any]]) -> None:
    if records:
        stream.write(b",\n" if stream.tell() else b"\n")
        stream.write(b",\n".join(map(_ENCODER.encode, records)))


_ENCODER: Final = msgspec.json.Encoder()


def _append(part: IO[bytes], stream: IO[bytes]) -> None:
    part.seek(0)
    shutil.copyfileobj(part, stream, 1 << 20)


FORMAT = Format(
    name="coco",
    title="COCO",
    description=(
        "One JSON file of images, annotations and categories; masks as compressed or uncompressed run lengths or "
        "polygons (https://cocodataset.org/#format-data). Published polygons, areas and boxes are kept as they are; what "
        "COCO has no word for stands in further keys, which other tools pass over."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    options={
        "layout": "instances, results (a list of predictions) or fiftyone (a folder: data/ and labels.json)",
        "segmentation": "auto (published polygons, else run lengths), rle, uncompressed or polygon",
        "ids": "auto (annotation ids of COCO kept, except 0 and repeated ones), published (0 too) or new",
        "reference": "reading results: the COCO file of the images and categories they were made for",
        "like": "a COCO JSON whose info, licenses and categories are taken over",
        "overwrite": "replace an existing file",
    },
    extensions=(".json",),
)
