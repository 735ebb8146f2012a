"""Reading COCO: every annotation a cell, what breaks a rule a finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from celltable.errors import InputError, MaskError
from celltable.geometry import polygon, rle
from celltable.records import Finding, Image, Instances, Sample

from ._coco_json import Document, as_text, by_image, image_of, kind_of, load
from ._files import open_files, with_pixels
from ._polygons import pack


def read(path: Path, images: Mapping[str, Image] | None = None, *, reference: Path | None = None) -> Iterator[Sample]:
    """Read a COCO file of instances or results, or a folder of ``data/`` and ``labels.json``.

    Parameters
    ----------
    images
        Known images by id: their sizes and pixels replace those of the file. Results name no sizes: they need these,
        or `reference`.
    reference
        For results: the COCO file of the images and categories that they were made for.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".zip":
        yield from _read_folder(path, images or {})
        return
    yield from _samples(load(path), images or {}, path.name, reference)


def _read_folder(path: Path, images: Mapping[str, Image]) -> Iterator[Sample]:
    with open_files(path) as files:
        labels = [m for m in files.names if PurePosixPath(m).name == "labels.json"]
        files.expect(labels, "data/ and labels.json")
        document = load(files.local(labels[0]))
        pictures = {PurePosixPath(m).name: m for m in files.names if "data" in PurePosixPath(m).parts}
        for sample in _samples(document, images, labels[0], None):
            member = pictures.get(PurePosixPath(sample.image.metadata.get("file_name", "")).name)
            yield with_pixels(files, sample, member) if member else sample


def _samples(document: Document, images: Mapping[str, Image], name: str, reference: Path | None) -> Iterator[Sample]:
    groups, homeless = by_image(document.annotations)
    categories = {c.get("id"): c for c in document.categories}
    if document.results:
        records, categories = _results_images(groups, images, reference, name)
    else:
        records = _named(document.images, images)
    loose = _whole_file(document, groups, {key for key, _, _ in records}, list(homeless), name)
    for key, image, findings in records:
        rows = [document.annotations[k] for k in groups.get(key, ())]
        batch = _Batch(image, categories, [*loose, *findings])
        loose = []
        yield batch.sample(rows)


Named = tuple[Any, Image, list[Finding]]


def _named(records: Sequence[dict[str, Any]], images: Mapping[str, Image]) -> list[Named]:
    """Each image record with its id: the file name without its ending where that is unique."""
    stems = Counter(_stem(r) for r in records)
    seen: Counter[Any] = Counter()
    found: list[Named] = []
    for record in records:
        findings: list[Finding] = []
        key, stem = record.get("id"), _stem(record)
        image_id = stem
        if not isinstance(record.get("celltable_id"), str) and (stems[stem] > 1 or not stem):
            image_id = f"{stem}#{key}"
            if stem:
                message = f"{record.get('file_name')} is listed {stems[stem]} times, under different ids"
                findings.append(Finding("duplicate-image-entry", message, image_id=image_id))
        seen[key] += 1
        if seen[key] > 1:
            message = f"the image id {key} is used {seen[key]} times; its annotations went to the first"
            findings.append(Finding("duplicate-image-id", message, "error", image_id))
        known = images.get(image_id) or images.get(str(record.get("file_name"))) or images.get(str(key))
        size = _size(record, known)
        if size is None:
            findings.append(
                Finding("size-invalid", f"image {image_id} has no valid height and width", "error", image_id)
            )
        image = known or image_of({"id": key, **record}, image_id, size or (0, 0))
        found.append((key if seen[key] == 1 else (key, seen[key]), image, findings))
    return found


def _stem(record: Mapping[str, Any]) -> str:
    own = record.get("celltable_id")
    return own if isinstance(own, str) else PurePosixPath(str(record.get("file_name", ""))).stem


def _size(record: Mapping[str, Any], known: Image | None) -> tuple[int, int] | None:
    if known:
        return known.size
    size = record.get("height"), record.get("width")
    if all(isinstance(n, int | float) and not isinstance(n, bool) and 0 < n < 2**31 and n == int(n) for n in size):
        return int(size[0]), int(size[1])  # type: ignore[arg-type]
    return None


def _results_images(
    groups: Mapping[Any, Any], images: Mapping[str, Image], reference: Path | None, name: str
) -> tuple[list[Named], dict[Any, dict[str, Any]]]:
    if reference is not None:
        document = load(Path(reference))
        return _named(document.images, images), {c.get("id"): c for c in document.categories}
    numbers = {i.metadata["coco_id"]: i for i in images.values() if "coco_id" in i.metadata}
    found: list[Named] = []
    for key in groups:
        image = numbers.get(str(key)) or images.get(str(key))
        if image is not None:
            found.append((key, image, []))
    if not found:
        raise InputError(
            f"{name} is a COCO results file: it names no images. Give the images it was made for, or the COCO file of "
            "the ground truth (--option reference=FILE)."
        )
    return found, {}


def _whole_file(
    document: Document, groups: Mapping[Any, Sequence[int]], known: set[Any], homeless: Sequence[int], name: str
) -> list[Finding]:
    """What is wrong with the file as a whole; the findings travel with its first image."""
    findings = []
    if document.annotations_were_a_dict:
        findings.append(
            Finding("annotations-dict", f"{name}: annotations is an object, not a list; read in id order", "note")
        )
    lost = len(homeless) + sum(len(rows) for key, rows in groups.items() if key not in known)
    if lost:
        message = f"{name}: {lost:,} annotations belong to no image of the file; they were left out"
        findings.append(Finding("unknown-image", message, "error", value=lost))
    if not document.results:
        ids = Counter(as_text(a.get("id")) for a in document.annotations)
        repeated = sum(n - 1 for n in ids.values())
        if repeated:
            message = f"{name}: {repeated:,} annotations repeat the id of another"
            findings.append(Finding("duplicate-annotation-id", message, "warning", value=repeated))
    return findings


@dataclass(slots=True)
class _Batch:
    """The annotations of one image on their way to columns."""

    image: Image
    categories: Mapping[Any, Mapping[str, Any]]
    findings: list[Finding]
    counts: list[bytes | None] = field(default_factory=list)
    polygons: list[bytes | None] = field(default_factory=list)
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    parts: dict[int, list[list[float]]] = field(default_factory=dict)

    def sample(self, rows: Sequence[Mapping[str, Any]]) -> Sample:
        for row in rows:
            self._take(row)
        self._draw()
        size = self.image.size
        cells = Instances.from_rle([c or b"" for c in self.counts], size, **self._columns())
        return Sample(self.image, cells, tuple(self.findings))

    def _take(self, row: Mapping[str, Any]) -> None:
        shape = row.get("segmentation")
        try:
            if isinstance(shape, dict):
                counts, parts = _counts(shape, self.image.size), None
            else:
                counts, parts = None, _parts(shape)
        except MaskError as exc:
            self._find("segmentation-invalid", f"annotation {row.get('id')}: {exc}", "error")
            return
        if row.get("id") == 0:
            self._find(
                "annotation-id-zero", "annotation id 0, which stock COCO evaluation never matches", "warning", True
            )
        if parts is not None:
            self.parts[len(self.counts)] = parts
        self.counts.append(counts)
        self.polygons.append(None if parts is None else pack(parts))
        self.rows.append(row)

    def _draw(self) -> None:
        """Rasterise all polygons of the image in one call."""
        if self.parts:
            drawn = polygon.many_to_rle(list(self.parts.values()), self.image.size)
            for k, counts in zip(self.parts, drawn, strict=True):
                self.counts[k] = counts

    def _find(self, rule: str, message: str, severity: Any, of_cell: bool = False) -> None:
        cell = len(self.counts) + 1 if of_cell else None
        self.findings.append(Finding(rule, message, severity, self.image.image_id, cell))

    def _columns(self) -> dict[str, Any]:
        names, kinds = zip(*map(self._class, self.rows), strict=True) if self.rows else ((), ())
        columns: dict[str, Any] = {
            "source_id": [str(r["source_id"]) if "source_id" in r else as_text(r.get("id")) for r in self.rows],
            "crowd": [bool(r.get("iscrowd", 0)) for r in self.rows],
            "ignore": [bool(r.get("ignore", 0)) for r in self.rows],
            "truncated": [r.get("truncated") is True for r in self.rows],
            "class_name": list(names) if any(names) else None,
            "kind": list(kinds) if "cell" in kinds else "nucleus",
            "polygon": self.polygons if any(self.polygons) else None,
            "published_area": self._optional("area", _number),
            "published_bbox": self._optional("bbox", _box),
            "score": self._optional("score", _number),
            "parent": self._optional("parent", _whole),
            "annotator": self._optional("annotator", lambda v: v if isinstance(v, str) else None),
            "class_names": self._optional("class_names", lambda v: v if isinstance(v, list) else None),
            "class_scores": self._optional("class_scores", lambda v: v if isinstance(v, list) else None),
        }
        ids = [_whole(r.get("instance_id")) for r in self.rows]
        if ids and all(i is not None for i in ids) and len(set(ids)) == len(ids):
            columns["instance_id"] = np.array(ids, np.int32)
        if not any(r.get("source_id") for r in self.rows) and not any("id" in r for r in self.rows):
            columns["source_id"] = None
        return columns

    def _optional(self, key: str, clean: Any) -> list[Any] | None:
        values = [clean(r.get(key)) for r in self.rows]
        return values if any(v is not None for v in values) else None

    def _class(self, row: Mapping[str, Any]) -> tuple[str | None, str]:
        key = row.get("category_id")
        category = self.categories.get(key)
        if category is None:
            if self.categories:
                self._find("unknown-category", f"annotation {row.get('id')}: no category has the id {key}", "error")
                return None, "nucleus"
            category = {"name": "nucleus" if key in (1, None) else str(key)}
        kind = row.get("kind") if row.get("kind") in ("nucleus", "cell") else kind_of(category)
        name = str(category.get("name", key))
        own = row.get("class_name")
        return (own if isinstance(own, str) else None if name in ("nucleus", "cell") else name), str(kind)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else None


def _box(value: Any) -> list[float] | None:
    numbers = [_number(v) for v in value] if isinstance(value, list) and len(value) == 4 else [None]
    return None if any(n is None for n in numbers) else numbers  # type: ignore[return-value]


def _counts(shape: Mapping[str, Any], size: tuple[int, int]) -> bytes:
    counts, stated = shape.get("counts"), shape.get("size")
    if stated is not None and list(stated) != list(size):
        raise MaskError(f"run lengths of a mask of {stated} (height, width); the image is {list(size)}")
    if isinstance(counts, list):
        return rle.from_uncompressed(counts, size)
    if not isinstance(counts, str):
        raise MaskError(f"counts is {type(counts).__name__}; expected text or a list of numbers")
    data = counts.encode("ascii", "replace")
    rle.check(data, size)
    return data


def _parts(shape: Any) -> list[list[float]]:
    """The polygons of an annotation as flat lists x, y, x, y, …"""
    if not isinstance(shape, list) or not shape:
        raise MaskError("no segmentation; a box alone is no mask")
    parts = [shape] if not isinstance(shape[0], list) else shape
    for part in parts:
        if not isinstance(part, list) or not all(isinstance(v, int | float) for v in part):
            raise MaskError("a polygon is not a list of numbers")
        if len(part) < 6 or len(part) % 2:
            raise MaskError(f"a polygon of {len(part)} numbers; expected pairs of x and y, three or more")
        if not np.isfinite(part).all():
            raise MaskError("a polygon with a coordinate that is not finite")
    return parts
