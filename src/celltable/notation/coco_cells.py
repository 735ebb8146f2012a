"""Read COCO annotations: each one becomes a cell, and each violation of a rule a finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.geometry.masks import Masks, RunLengths
from celltable.rules import rule

from .coco import Document, image_of, kind_of, load

rule(
    "annotation-id-zero",
    "Annotation with the id 0",
    "warning",
    "Stock COCO evaluation never matches annotation 0: its cell counts as missed.",
    emitter="import coco, ingest livecell, ingest nuclei_coco",
)
rule(
    "annotation-keys",
    "Annotation keys that COCO does not define",
    "note",
    "The values of unknown keys are not read. Value: keys.",
    emitter="import coco, ingest livecell, ingest nuclei_coco",
)
rule(
    "annotations-dict",
    "Annotations keyed by id",
    "note",
    "The annotations are an object keyed by id instead of a list; pycocotools cannot read the file.",
    emitter="import coco, ingest livecell, ingest nuclei_coco",
)
rule(
    "duplicate-annotation-id",
    "Annotation id used twice",
    "warning",
    "Readers that index annotations by id lose one of them. Value: annotations.",
    emitter="import coco, ingest livecell, ingest nuclei_coco",
)
rule(
    "duplicate-image-id",
    "Image id used twice",
    "error",
    "Two images of the file have the same id; the annotations went to the first.",
    emitter="import coco, ingest livecell, ingest nuclei_coco",
)

Named = tuple[Any, Image, list[Finding]]
Rows = NDArray[np.int64]
_OWN: Final = {  # keys that the writer adds to those of COCO → type of the value
    "parent": int,
    "celltable_id": int,
    "instance_id": int,  # in older files; FiftyOne reserves the name
    "truncated": bool,
    "annotator": str,
    "source_id": str,
    "class_name": str,
    "class_names": list,
    "class_scores": list,
    "kind": str,
}
_NO_SHAPE, _POLYGONS, _RLE, _UNCOMPRESSED = range(4)


def samples(document: Document, images: Mapping[str, Image], name: str, reference: Path | None) -> Iterator[Sample]:
    reader, records, loose = prepare(document, images, name, reference)
    for key, image, findings in records:
        yield reader.sample(key, image, [*loose, *findings])
        loose = []


def prepare(
    document: Document, images: Mapping[str, Image], name: str, reference: Path | None = None
) -> tuple[Annotations, list[Named], list[Finding]]:
    """Open a file: annotations to read per image on demand, each image with its key, and findings on the whole file."""
    reader = Annotations(document)
    if document.results:
        records, reader.categories = _results_images(reader, images, reference, name)
    else:
        records = _named(document.images, images)
    return reader, records, whole_file(reader, {key for key, _, _ in records}, name)


def _named(records: Sequence[dict[str, Any]], images: Mapping[str, Image]) -> list[Named]:
    """Give each image record its id: the file name without its extension, if that is unique."""
    stems = Counter(_stem(r) for r in records)
    seen: Counter[Any] = Counter()
    found: list[Named] = []
    for record in records:
        findings: list[Finding] = []
        key, image_id = record.get("id"), _stem(record)
        if not isinstance(record.get("celltable_id"), str) and (stems[image_id] > 1 or not image_id):
            if image_id:
                message = f"{record.get('file_name')} is listed {stems[image_id]} times, under different ids"
                findings.append(Finding("image-listed-twice", message, image_id=f"{image_id}#{key}"))
            image_id = f"{image_id}#{key}"
        seen[str(key)] += 1
        if seen[str(key)] > 1:
            message = f"the image id {key} is used {seen[str(key)]} times; its annotations went to the first"
            findings.append(Finding("duplicate-image-id", message, "error", image_id))
        known = images.get(image_id) or images.get(str(record.get("file_name"))) or images.get(str(key))
        size = known.size if known else size_of(record)
        if size is None:
            message = f"image {image_id} has no valid height and width"
            findings.append(Finding("invalid-size", message, "error", image_id))
        image = known or image_of({"id": key, **record}, image_id, size or (0, 0))
        found.append((key if seen[str(key)] == 1 else None, image, findings))
    return found


def _stem(record: Mapping[str, Any]) -> str:
    own = record.get("celltable_id")
    return own if isinstance(own, str) else PurePosixPath(str(record.get("file_name", ""))).stem


def size_of(record: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = record.get("height"), record.get("width")
    for n in (height, width):
        if isinstance(n, bool) or not isinstance(n, int | float) or not 0 < n < 2**31 or n != int(n):
            return None
    return int(height or 0), int(width or 0)


def _results_images(
    reader: Annotations, images: Mapping[str, Image], reference: Path | None, name: str
) -> tuple[list[Named], dict[Any, dict[str, Any]]]:
    if reference is not None:
        document = load(Path(reference))
        return _named(document.images, images), {c.get("id"): c for c in document.categories}
    numbers = {i.metadata["coco_id"]: i for i in images.values() if "coco_id" in i.metadata}
    found: list[Named] = []
    for key in reader.file.image_keys:
        image = numbers.get(str(key)) or images.get(str(key))
        if image is not None:
            found.append((key, image, []))
    if not found:
        raise InputError(
            f"{name} is a COCO results file, which has no images. Give the images it was made for, or the COCO file of "
            "the ground truth (--option reference=FILE)."
        )
    return found, {}


def whole_file(reader: Annotations, known: set[Any], name: str) -> list[Finding]:
    """Report what is wrong with the file as a whole; the findings come with its first image."""
    file, findings = reader.file, []
    if file.annotations_were_a_dict:
        message = f"{name}: annotations is an object, not a list; read in the order of its keys"
        findings.append(Finding("annotations-dict", message, "note"))
    homeless = int(np.count_nonzero(file.image < 0))
    lost = homeless + sum(len(reader.rows(key)) for key in file.image_keys if key not in known)
    if lost:
        message = f"{name}: {lost:,} annotations do not belong to any image of the file; they were left out"
        findings.append(Finding("unknown-image", message, "error", value=lost))
    if not file.results:
        odd = Counter(file.odd_ids.values())
        repeated = _repeated(file.ids[file.ids >= 0]) + sum(n - 1 for n in odd.values())
        if repeated:
            message = f"{name}: {repeated:,} annotations repeat the id of another"
            findings.append(Finding("duplicate-annotation-id", message, value=repeated))
    foreign = sorted(set(file.extra_names) - set(_OWN))
    if foreign:
        message = f"{name}: the keys {', '.join(foreign[:8])} of annotations were not kept"
        findings.append(Finding("annotation-keys", message, "note", value=len(foreign)))
    return findings


def _repeated(ids: Rows) -> int:
    """Count the ids that are repeated; immediate if they ascend, as they usually do."""
    return 0 if (ids[1:] > ids[:-1]).all() else len(ids) - len(np.unique(ids))


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Annotations of one image that have a mask: their positions among its rows, and polygons if they have them."""

    where: Rows
    masks: Masks
    polygons: Sequence[bytes | None] | None = None


def _in_order(parts: Sequence[_Drawn], size: tuple[int, int]) -> _Drawn:
    """Join the annotations of several parts in the order of their rows."""
    parts = [part for part in parts if len(part.where)] or [_Drawn(np.zeros(0, np.int64), Masks.of([], size))]
    if len(parts) == 1:
        return parts[0]
    where = np.concatenate([part.where for part in parts])
    order = np.argsort(where)
    polygons = [p for part in parts for p in part.polygons or [None] * len(part.where)]
    masks = Masks.concat([part.masks for part in parts]).take(order)
    return _Drawn(where[order], masks, [polygons[k] for k in order.tolist()])


class Annotations:
    """The annotations of a file, converted to cells image by image."""

    def __init__(self, document: Document) -> None:
        self.file = document.file
        self.categories: dict[Any, dict[str, Any]] = {c.get("id"): c for c in document.categories}
        self.order, self.starts = self.file.by_image()
        self.places = {key: k for k, key in enumerate(self.file.image_keys)}

    @cached_property
    def extras(self) -> dict[str, dict[int, Any]]:
        """Read the keys that the writer adds: name → row → value, without values of another type."""
        found: dict[str, dict[int, Any]] = {}
        for name, kind in _OWN.items():
            if name in self.file.extra_names:
                rows, texts = self.file.extra(name)
                values = zip(rows.tolist(), map(msgspec.json.decode, texts), strict=True)
                found[name] = {r: v for r, v in values if isinstance(v, kind)}
        return found

    def rows(self, key: Any) -> Rows:
        """Return the annotations of an image, in file order."""
        k = self.places.get(key) if isinstance(key, int | str) else None
        return self.order[:0] if k is None else self.order[self.starts[k] : self.starts[k + 1]]

    def sample(self, key: Any, image: Image, findings: list[Finding]) -> Sample:
        """Read one image with its cells; annotations without a valid mask become findings."""
        rows = self.rows(key)
        wrong: dict[int, str] = {}
        drawn = _in_order([self._run_lengths(rows, image, wrong), self._polygons(rows, image, wrong)], image.size)
        for k in np.setdiff1d(np.arange(len(rows)), drawn.where).tolist() if len(drawn.where) < len(rows) else ():
            message = f"annotation {self._name(rows[k])}: {wrong.get(k) or self._no_mask(rows[k])}; left out"
            findings.append(Finding("invalid-segmentation", message, "error", image.image_id))
        columns = self._columns(rows[drawn.where], image, findings)
        if drawn.polygons is not None:
            columns["polygon"] = drawn.polygons
        return Sample(image, Instances(drawn.masks, **columns), tuple(findings))

    def _name(self, row: int) -> str:
        number = int(self.file.ids[row])
        return str(number) if number >= 0 else str(self.file.odd_ids.get(row))

    def _no_mask(self, row: int) -> str:
        none = self.file.shape[row] == _NO_SHAPE
        return "no segmentation; a box is not a mask" if none else "no known segmentation"

    def _run_lengths(self, rows: Rows, image: Image, wrong: dict[int, str]) -> _Drawn:
        where = np.flatnonzero(np.isin(self.file.shape[rows], (_RLE, _UNCOMPRESSED)))
        masks = Masks.of([], image.size)
        if not where.size:
            return _Drawn(where, masks)
        data, starts, given = self.file.rles(rows[where])
        masks = Masks(data, starts, image.size)
        stated = np.zeros((len(where), 2), np.int64) if self.file.rle_size is None else self.file.rle_size[rows[where]]
        fits = (stated == 0).all(axis=1) | (stated == image.size).all(axis=1)
        bad = {}
        for j in np.flatnonzero(~fits | (given == 0)).tolist():
            height, width = stated[j]
            size = f"run lengths of a mask of {height} × {width}; the image is {image.height} × {image.width}"
            bad[j] = "counts is neither text nor a list of whole numbers" if fits[j] else size
        left = np.setdiff1d(np.arange(len(where)), list(bad))
        masks = masks.take(left) if bad else masks
        faults = masks.faults()
        wrong.update((int(where[j]), reason) for j, reason in bad.items())
        wrong.update((int(where[left[j]]), reason) for j, reason in faults.items())
        if not faults:
            return _Drawn(where[left], masks)
        valid = np.setdiff1d(np.arange(len(left)), list(faults))
        return _Drawn(where[left[valid]], masks.take(valid))

    def _polygons(self, rows: Rows, image: Image, wrong: dict[int, str]) -> _Drawn:
        where = np.flatnonzero(self.file.shape[rows] == _POLYGONS)
        if not where.size:
            return _Drawn(where, Masks.of([], image.size))
        counts, polygons, areas, boxes, bad = self.file.cells(rows[where], *image.size)
        masks, packed = Masks(*counts, image.size, areas, boxes), RunLengths(*polygons)
        if not bad:
            return _Drawn(where, masks, packed)
        wrong.update((int(where[j]), reason) for j, reason in bad.items())
        kept = np.setdiff1d(np.arange(len(where)), list(bad))
        return _Drawn(where[kept], masks.take(kept), packed.take(kept))

    def _columns(self, rows: Rows, image: Image, findings: list[Finding]) -> dict[str, Any]:
        file, listed = self.file, rows.tolist()
        zero = np.flatnonzero(file.ids[rows] == 0)
        if zero.size and not file.results:
            message = "annotation id 0, which stock COCO evaluation never matches"
            findings.append(Finding("annotation-id-zero", message, "warning", image.image_id, int(zero[0]) + 1))
        names, kinds = self._classes(listed, image, findings)
        columns: dict[str, Any] = {"class_name": _one_for_all(names), "kind": _one_for_all(kinds) or "nucleus"}
        columns["crowd"] = file.iscrowd[rows].astype(bool).tolist() if file.iscrowd[rows].any() else False
        columns["ignore"] = file.ignore[rows].astype(bool).tolist() if file.ignore[rows].any() else False
        columns["published_area"] = _given(file.area[rows])
        columns["score"] = None if file.score is None else _given(file.score[rows])
        columns["published_bbox"] = None if file.bbox is None else _given(file.bbox[rows])
        for name in ("parent", "annotator", "class_names", "class_scores"):
            columns[name] = self._extra(name, listed)
        truncated = self._extra("truncated", listed)
        columns["truncated"] = [bool(v) for v in truncated] if truncated else False
        if not file.results:
            own, numbers = self._extra("source_id", listed), file.ids[rows].tolist()
            named = [str(n) if n >= 0 else self._name(r) for n, r in zip(numbers, listed, strict=True)]
            columns["source_id"] = named if own is None else [s or n for s, n in zip(own, named, strict=True)]
        ids = self._extra("celltable_id", listed) or self._extra("instance_id", listed)
        if ids and None not in ids and len(set(ids)) == len(ids) and all(0 <= i < 2**31 for i in ids):
            columns["instance_id"] = np.array(ids, np.int32)
        return columns

    def _extra(self, name: str, rows: list[int]) -> list[Any] | None:
        found = self.extras.get(name)
        values = [found.get(r) for r in rows] if found else []
        return values if any(v is not None for v in values) else None

    def _classes(self, rows: list[int], image: Image, findings: list[Finding]) -> tuple[list[str | None], list[str]]:
        own_names, own_kinds = self.extras.get("class_name", {}), self.extras.get("kind", {})
        indices: list[int] = self.file.category[rows].tolist()
        found = Counter(indices)
        told = {index: self._category(index) for index in found}
        for index, n in found.items():
            key = self._key(index)
            if self.categories and key not in self.categories:
                message = f"{n:,} annotations have category {key}, which the file does not define"
                findings.append(Finding("unknown-class", message, "error", image.image_id, value=n))
        names, kinds = [told[i][0] for i in indices], [told[i][1] for i in indices]
        if own_names:
            names = [own_names.get(row) or name for row, name in zip(rows, names, strict=True)]
        if own_kinds:
            chosen = [own_kinds.get(row) for row in rows]
            kinds = [c if c in ("nucleus", "cell") else k for c, k in zip(chosen, kinds, strict=True)]
        return names, kinds

    def _key(self, index: int) -> Any:
        return self.file.category_keys[index] if index >= 0 else None

    def _category(self, index: int) -> tuple[str | None, str]:
        """Return the class (None if the name only says nucleus or cell) and kind of a category."""
        key = self._key(index)
        category = self.categories.get(key)
        if category is None:
            category = {"name": "nucleus" if self.categories or key in (1, None) else str(key)}
        name = str(category.get("name", key))
        return None if name in ("nucleus", "cell") else name, kind_of(category)


def _one_for_all(values: list[Any]) -> Any:
    """Return the value that all cells share, or one per cell."""
    return values[0] if values and values.count(values[0]) == len(values) else values or None


def _given(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Keep finite numbers (n,) or rows of numbers (n, k), with NaN elsewhere; None if none is finite."""
    absent = ~np.isfinite(values).reshape(len(values), -1 if len(values) else 1).all(axis=1)
    if absent.all():
        return None
    if absent.any():
        values = values.copy()
        values[absent] = np.nan
    return values
