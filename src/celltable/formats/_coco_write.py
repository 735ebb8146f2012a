"""Write COCO files image by image; annotations are kept in a temporary file until all images are written."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import IO, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample
from celltable.notation.coco import Numbers, extra_keys, kind_of, load
from celltable.notation.names import to_name
from celltable.notation.polygons import outlines, published
from celltable.notation.rows import COCO_POLYGONS, Column, Piece, fields, masks, numbers, rings, rows, said

WRITTEN: Final = "written by celltable"  # default description of files
KINDS: Final = ("nucleus", "cell")
IN_MEMORY: Final = 1 << 24  # bytes of records kept in memory before a file is used


class CocoWriter:
    """A COCO file being written; a context manager that completes the file if its block succeeds.

    Parameters
    ----------
    path
        The file; temporary files are written beside it.
    segmentation, ids, like
        As for the format `coco`.
    results
        Write a list of predictions instead of a data set.
    first
        The lowest annotation id.
    keyed
        Write the annotations as an object keyed by id, as in some releases, instead of as a list.
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
        keyed: bool = False,
    ) -> None:
        self.path, self.segmentation, self.ids, self.results = path, segmentation, ids, results
        self.keyed = keyed
        self.image_numbers, self.cell_numbers = Numbers(), Numbers(first - 1)
        self.head = _head(like)
        self.categories: dict[str, int] = {c["name"]: c["id"] for c in self.head["categories"]}
        self.category_kinds: dict[str, str] = {c["name"]: kind_of(c) for c in self.head["categories"]}
        self.stems: set[str] = set()

    def __enter__(self) -> CocoWriter:
        self.images = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self.path.parent))
        self.cells = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self.path.parent))
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
        stream.write(b'],\n"annotations":' + (b"{" if self.keyed else b"["))
        _append(self.cells, stream)
        stream.write(b"}}\n" if self.keyed else b"]}\n")

    def add(self, sample: Sample, file_name: str = "", **more: Any) -> None:
        """Add one image with its cells; `more` holds additional keys of the image."""
        self.put(*self.texts(sample, file_name, **more))

    def texts(self, sample: Sample, file_name: str = "", **more: Any) -> tuple[bytes, bytes]:
        """Format the record of an image and those of its cells, one per line, with the next ids of this file."""
        number, name = self._image_number(sample.image), file_name or _file_name(sample.image)
        cells = rows(len(sample.instances), *self._annotations(sample, number))
        if self.results:
            return b"", cells
        return msgspec.json.encode(self._image_record(sample.image, number, name) | more), cells

    def put(self, image: bytes, cells: bytes) -> None:
        """Append records made by `texts` of this writer or another."""
        for stream, text in ((self.images, image), (self.cells, keyed(cells) if self.keyed else cells)):
            if text:
                stream.write(b",\n" if stream.tell() else b"\n")
                stream.write(text)

    def _image_record(self, image: Image, number: int, name: str) -> dict[str, Any]:
        record = {"id": number, "file_name": name, "height": image.height, "width": image.width}
        stem = _stem(name)
        if stem != image.image_id or stem in self.stems:
            record["celltable_id"] = image.image_id
        self.stems.add(stem)
        return record | extra_keys(image)

    def _image_number(self, image: Image) -> int:
        published = image.metadata.get("coco_id", "") if self.ids != "new" else ""
        return self.image_numbers.take(published, lowest=0)

    def _annotations(self, sample: Sample, image_number: int) -> tuple[list[Piece], bytes]:
        """Format the records of an image's cells, one per line."""
        cells, n = sample.instances, len(sample.instances)
        from_coco = self.ids == "published" or (self.ids == "auto" and "coco_id" in sample.image.metadata)
        sources = None if cells.source_id is None else cells.column("source_id")
        lowest = 0 if self.ids == "published" else 1
        ids = np.array(self.cell_numbers.take_many(sources if from_coco else None, n, lowest), np.int64)
        categories, kinds = self._categories(cells)
        image, shapes = b'"image_id":%d' % image_number, self._segmentations(cells)
        if self.results:
            scores = [1.0 if score is None else score for score in cells.column("score")]
            category = (b',"category_id":', categories, b"")
            return [b"{" + image, category, b',"segmentation":', *shapes, (b',"score":', scores, b"}")], b","
        pieces: list[Piece] = [(b'{"id":', ids, b"," + image), (b',"category_id":', categories, b"")]
        pieces += [(b',"iscrowd":', _flags(cells), b""), (b',"area":', _overlaid(cells.area, cells, "area"), b"")]
        pieces += [
            (b',"bbox":', _overlaid(np.reshape(cells.bbox, (n, 4)), cells, "bbox"), b',"segmentation":'),
            *shapes,
        ]
        if sources is not None:
            sources = [None if s == str(k) else s for s, k in zip(sources, ids.tolist(), strict=True)]
        return [*pieces, *fields([*_more(cells), ("kind", kinds), ("source_id", sources)]), b"}"], b",\n"

    def _categories(self, cells: Instances) -> tuple[NDArray[np.int64], list[str | None] | None]:
        """Return the category of each cell, and its kind if the category implies another."""
        n = len(cells)
        if isinstance(cells.kind, str) and (cells.class_name is None or isinstance(cells.class_name, str)) and n:
            number, kind = self._category(cells.class_name, cells.kind)
            return np.full(n, number), None if kind is None else [kind] * n
        pairs = list(zip(cells.column("class_name"), cells.column("kind"), strict=True))
        known = {pair: self._category(*pair) for pair in dict.fromkeys(pairs)}
        return np.array([known[p][0] for p in pairs], np.int64), [known[p][1] for p in pairs]

    def _category(self, class_name: str | None, kind: str) -> tuple[int, str | None]:
        """Return the category of a class (nucleus or cell if none), and the kind if the category implies another."""
        name = str(class_name or kind)
        number = self.categories.get(name)
        if number is None:
            number = max(self.categories.values(), default=0) + 1
            self.categories[name], self.category_kinds[name] = number, kind
            self.head["categories"].append({"supercategory": kind, "id": number, "name": name})
        return number, kind if self.category_kinds[name] != kind else None

    def _segmentations(self, cells: Instances) -> list[Piece]:
        """Format polygons where requested and exact, run lengths for the other cells."""
        left = np.ones(len(cells), bool)
        pieces: list[Piece] = []
        shapes = None
        if self.segmentation == "polygon":
            shapes = outlines(cells.rle)
            shapes = shapes.only(~shapes.holed)
        elif self.segmentation == "auto" and cells.polygon is not None:
            shapes = published(cells)
        if shapes is not None:
            left = shapes.parts == 0
            pieces.append((b"", rings(shapes, COCO_POLYGONS), b""))
        if shapes is None or left.any():
            pieces.append((b"", masks(cells.rle, left, self.segmentation == "uncompressed"), b""))
        return pieces


def keyed(cells: bytes) -> bytes:
    """Turn records of cells, each on a line that begins with its id, into members of an object keyed by id.

    >>> keyed(b'{"id":7,"area":1},\\n{"id":9,"area":2}')
    b'"7":{"id":7,"area":1},\\n"9":{"id":9,"area":2}'
    """
    return re.sub(rb'^\{"id":(\d+)', rb'"\1":\g<0>', cells, flags=re.MULTILINE)


EXTRA: Final = {"parent": None, "ignore": False, "truncated": False, "annotator": None, "score": None}


def _more(cells: Instances) -> Iterator[tuple[str, Column | None]]:
    """Collect the keys besides those of COCO, without empty values."""
    for name, plain in EXTRA.items():
        values = said(cells, name, plain)
        yield name, [None if v is None else int(v) for v in values] if name == "ignore" and values else values
    ids = cells.ids
    yield "celltable_id", None if (ids == np.arange(1, len(cells) + 1)).all() else numbers(ids)
    for name in ("class_names", "class_scores"):
        yield name, said(cells, name)
    yield "class_name", _named_as_kinds(cells)


def _named_as_kinds(cells: Instances) -> list[str | None] | None:
    """List the classes named like kinds, which would otherwise be read as kinds without a class."""
    if cells.class_name is None or (isinstance(cells.class_name, str) and cells.class_name not in KINDS):
        return None
    return [name if name in KINDS else None for name in cells.column("class_name")]


def _flags(cells: Instances) -> NDArray[np.int64]:
    return np.full(len(cells), cells.crowd, np.int64) if isinstance(cells.crowd, bool) else _whole(cells.crowd)


def _whole(values: Any) -> NDArray[np.int64]:
    return np.fromiter((int(v) for v in values), np.int64, len(values))


def _overlaid(measured: Any, cells: Instances, name: str) -> Column:
    """Return published areas or boxes, or measured ones for cells without published values."""
    given: Any = getattr(cells, f"published_{name}")
    if given is None:
        return numbers(measured)
    if isinstance(given, np.ndarray) and given.dtype == np.float64 and not np.isnan(given).any():
        return np.ascontiguousarray(given)
    pairs = zip(cells.column(f"published_{name}"), np.asarray(measured).tolist(), strict=True)
    return [m if p is None else p for p, m in pairs]


def _head(like: Path | None) -> dict[str, Any]:
    if like is None:
        return {"info": {"description": WRITTEN}, "licenses": [], "categories": []}
    found = load(Path(like))
    return {"info": {}, "licenses": [], **found.head, "categories": [dict(c) for c in found.categories]}


def _file_name(image: Image) -> str:
    if "file_name" in image.metadata:
        return image.metadata["file_name"]
    if len(image.pixels) == 1 and image.pixels[0].index is None:
        return PurePosixPath(image.pixels[0].member).name
    return to_name(image.image_id) + ".png"


def _stem(name: str) -> str:
    """Return the stem of a path; pathlib would take longer than the rest of an image's record."""
    last = name.rstrip("/").rpartition("/")[2]
    dot = last.rfind(".")
    return last[:dot] if 0 < dot < len(last) - 1 else last


def _append(part: IO[bytes], stream: IO[bytes]) -> None:
    part.seek(0)
    shutil.copyfileobj(part, stream, 1 << 20)
