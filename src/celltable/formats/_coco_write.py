"""Writing COCO files image by image: annotations wait in a temporary file until the images are through."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Final

import msgspec
import numpy as np

from celltable.geometry import rle
from celltable.records import Image, Instances, Sample

from ._coco_json import Numbers, extra_keys, kind_of, load
from ._out import to_name
from ._polygons import outlines, parts_of, without_holes

_ENCODER: Final = msgspec.json.Encoder()


class CocoWriter:
    """One COCO file in the making; a context manager that writes the file when its block ends well.

    Parameters
    ----------
    path
        The file; temporary ones lie beside it.
    segmentation, ids, like
        As for the format `coco`.
    results
        Write a list of predictions instead of a data set.
    """

    def __init__(
        self,
        path: Path,
        *,
        segmentation: str = "auto",
        ids: str = "auto",
        like: Path | None = None,
        results: bool = False,
        first: int = 1,
    ) -> None:
        self.path, self.segmentation, self.ids, self.results = path, segmentation, ids, results
        self.image_numbers, self.cell_numbers = Numbers(), Numbers(first - 1)
        self.head = _head(like)
        self.categories: dict[str, int] = {c["name"]: c["id"] for c in self.head["categories"]}
        self.category_kinds: dict[str, str] = {c["name"]: kind_of(c) for c in self.head["categories"]}
        self.stems: set[str] = set()

    def __enter__(self) -> CocoWriter:
        self.images = tempfile.TemporaryFile(dir=self.path.parent)
        self.cells = tempfile.TemporaryFile(dir=self.path.parent)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        with self.images, self.cells:
            if kind is None:
                with self.path.open("wb") as stream:
                    self._finish(stream)

    def _finish(self, stream: IO[bytes]) -> None:
        if self.results:
            stream.write(b"[")
            _append(self.cells, stream)
            stream.write(b"]\n")
            return
        head = b",\n".join(msgspec.json.encode(k) + b":" + msgspec.json.encode(v) for k, v in self.head.items())
        stream.write(b"{" + head + b',\n"images":[')
        _append(self.images, stream)
        stream.write(b'],\n"annotations":[')
        _append(self.cells, stream)
        stream.write(b"]}\n")

    def add(self, sample: Sample, file_name: str = "", **more: Any) -> None:
        """Add one image with its cells; `more` are further keys of the image."""
        number = self._image_number(sample.image)
        rows = self._annotations(sample, number)
        if self.results:
            scores = sample.instances.column("score")
            _spool(self.cells, [_result(row, score) for row, score in zip(rows, scores, strict=True)])
            return
        image, name = sample.image, file_name or _file_name(sample.image)
        record = {"id": number, "file_name": name, "height": image.height, "width": image.width}
        stem = PurePosixPath(name).stem
        if stem != image.image_id or stem in self.stems:
            record["celltable_id"] = image.image_id
        self.stems.add(stem)
        _spool(self.images, [record | extra_keys(image) | more])
        _spool(self.cells, rows)

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
        crowd, area, bbox = columns.crowd, columns.area, columns.bbox
        categories = [self._category(columns, k) for k in range(len(numbers))]
        rows: list[dict[str, Any]] = [
            {
                "id": number,
                "image_id": image_number,
                "category_id": categories[k],
                "iscrowd": int(crowd[k]),
                "area": area[k],
                "bbox": bbox[k],
                "segmentation": shapes[k],
            }
            for k, number in enumerate(numbers)
        ]
        self._more(rows, columns, numbers)
        return rows

    def _more(self, rows: list[dict[str, Any]], columns: _Columns, numbers: list[int]) -> None:
        """Add the keys beside those of COCO, where they say something."""
        kinds = self.category_kinds
        for k, row in enumerate(rows):
            if columns.extras:
                row |= columns.extra(k)
            name = columns.names[k]
            if name in ("nucleus", "cell"):
                row["class_name"] = name
            if columns.kind[k] != kinds[columns.name(k)]:
                row["kind"] = columns.kind[k]
            if columns.sources and columns.sources[k] not in (None, str(numbers[k])):
                row["source_id"] = columns.sources[k]

    def _category(self, columns: _Columns, k: int) -> int:
        name = columns.name(k)
        number = self.categories.get(name)
        if number is None:
            number = max(self.categories.values(), default=0) + 1
            self.categories[name], self.category_kinds[name] = number, columns.kind[k]
            self.head["categories"].append({"supercategory": columns.kind[k], "id": number, "name": name})
        return number

    def _segmentations(self, sample: Sample) -> list[Any]:
        cells = sample.instances
        size = [int(n) for n in cells.size]
        if self.segmentation == "polygon":
            parts = outlines(cells.rle, cells.size)
            return [
                without_holes(p) or {"size": size, "counts": c.decode("ascii")}
                for p, c in zip(parts, cells.rle, strict=True)
            ]
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
        _overlay(self.area, cells.column("published_area"))
        _overlay(self.bbox, cells.column("published_bbox"))
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
        return str(self.names[k] or self.kind[k])

    def extra(self, k: int) -> dict[str, Any]:
        """Keys beside those of COCO, only where they say something."""
        found = {name: values[k] for name, values in self.extras.items() if values[k] is not None}
        if "ignore" in found:
            found["ignore"] = int(found["ignore"])
        return found


def _overlay(plain: list[Any], published: list[Any]) -> None:
    for k, value in enumerate(published):
        if value is not None:
            plain[k] = value


def _result(row: Mapping[str, Any], score: float | None) -> dict[str, Any]:
    picked = {k: row[k] for k in ("image_id", "category_id", "segmentation")}
    return {**picked, "score": 1.0 if score is None else score}


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
        stream.write(_ENCODER.encode(records)[1:-1].replace(b'},{"id":', b'},\n{"id":'))  # a line a record


def _append(part: IO[bytes], stream: IO[bytes]) -> None:
    part.seek(0)
    shutil.copyfileobj(part, stream, 1 << 20)
