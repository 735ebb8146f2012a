"""COCO's numbers directly from JSON files: ground truth and results in COCO's formats."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from celltable._native.cocojson import CocoFile
from celltable.errors import InputError, MetricError, NotFoundError
from celltable.geometry.masks import Masks, RunLengths
from celltable.plugins.metric import Mode, Result
from celltable.work import default_workers

from .accumulate import Evaluation, false_negative_rate, undefined_as_nan
from .columns import Annotations, evaluate
from .protocol import LIVECELL, Protocol, protocol_named


def coco_scores(
    gt: str | Path | CocoFile,
    dt: str | Path | CocoFile,
    *,
    protocol: str | Protocol = "coco",
    mode: Mode = "corrected",
    threads: int | None = None,
) -> Result:
    """Score a COCO results file against a COCO ground-truth file, with COCO's or LIVECell's protocol.

    Parameters
    ----------
    gt, dt
        COCO JSON of instances and of results: paths, or open files.
    protocol
        "coco", "livecell" (2000 detections, its areas, only category 1), or a Protocol.
    mode
        "strict" reproduces pycocotools: an annotation with id 0 never counts as found, a result with a box has the
        area of the box, empty results are refused, and undefined numbers are -1. "corrected" does none of this;
        undefined numbers are NaN.
    threads
        Number of threads; None uses every core.

    Returns
    -------
    Result
        The value is AP; the fields are those of `Evaluation.summary`, and AFNR = 1 - AR2000 for "livecell".

    Raises
    ------
    InputError
        If a file is not COCO JSON, a mask is not valid, or results name images that the ground truth does not have.
    """
    evaluation = coco_arrays(gt, dt, protocol=protocol, mode=mode, threads=threads)
    fields = evaluation.summary()
    if protocol_named(protocol) == LIVECELL:
        fields["AFNR"] = false_negative_rate(fields["AR2000"], mode)
    fields = undefined_as_nan(fields, mode)
    return Result(float(fields["AP"]), fields)


def coco_arrays(
    gt: str | Path | CocoFile,
    dt: str | Path | CocoFile,
    *,
    protocol: str | Protocol = "coco",
    mode: Mode = "corrected",
    threads: int | None = None,
) -> Evaluation:
    """Like `coco_scores`, but return the full precision, recall and score arrays of COCOeval.eval."""
    chosen = protocol_named(protocol)
    workers = default_workers() if threads is None else threads
    gt_file, dt_file = _opened(gt), _opened(dt)
    frame = _Frame.of(gt_file, [1] if chosen == LIVECELL else None)
    left, right = (
        _ground_truth(gt_file, frame, chosen, mode, workers),
        _results(dt_file, gt_file, frame, chosen, mode, workers),
    )
    return evaluate(left, right, len(frame.images), frame.names, chosen, mode, workers)


def _opened(source: str | Path | CocoFile) -> CocoFile:
    if isinstance(source, CocoFile):
        return source
    path = Path(source)
    if not path.is_file():
        raise NotFoundError(f"{path} is not a file.")
    return CocoFile.open(str(path))


@dataclass(frozen=True, slots=True)
class _Frame:
    """The images and categories of the ground truth, in ascending order of their ids."""

    images: Mapping[Any, int]
    sizes: NDArray[np.int32]
    categories: Mapping[Any, int]
    names: tuple[str, ...]

    @classmethod
    def of(cls, file: CocoFile, categories: Sequence[Any] | None) -> _Frame:
        records = _members(file, "images")
        listed = (
            _members(file, "categories") if "categories" in file.members else [{"id": k} for k in file.category_keys]
        )
        images = {r["id"]: (r.get("height"), r.get("width")) for r in records}
        keys = _ascending(list(images), file.name, "image")
        named = {c["id"]: str(c.get("name", c["id"])) for c in listed}
        chosen = _ascending(list(named), file.name, "category") if categories is None else list(categories)
        sizes = [tuple(-1 if not isinstance(n, int) else n for n in images[k]) for k in keys]
        return cls(
            {k: i for i, k in enumerate(keys)},
            np.array(sizes, np.int32).reshape(-1, 2),
            {k: i for i, k in enumerate(chosen)},
            tuple(named.get(k, str(k)) for k in chosen),
        )

    def columns(self, file: CocoFile) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the position of the image and of the category of each annotation; -1 for unlisted ones."""
        return _translated(file.image, file.image_keys, self.images), _translated(
            file.category, file.category_keys, self.categories
        )


def _members(file: CocoFile, key: str) -> list[dict[str, Any]]:
    records = msgspec.json.decode(file.members[key]) if key in file.members else None
    if not isinstance(records, list) or not all(isinstance(r, dict) and "id" in r for r in records):
        raise InputError(f"{file.name} is not COCO ground truth: expected {key}, a list of objects with an id")
    return records


def _ascending(keys: list[Any], name: str, what: str) -> list[Any]:
    try:
        return sorted(keys)
    except TypeError as exc:
        raise InputError(f"{name}: {what} ids are of different types; expected all numbers or all strings") from exc


def _translated(column: NDArray[np.int32], keys: list[Any], positions: Mapping[Any, int]) -> NDArray[np.int32]:
    table = np.array([*(positions.get(k, -1) for k in keys), -1], np.int32)  # the last entry is for -1, none
    return table[column]


def _ground_truth(file: CocoFile, frame: _Frame, protocol: Protocol, mode: Mode, threads: int) -> Annotations:
    image, category = frame.columns(file)
    used = (image >= 0) & (category >= 0)
    bad = np.flatnonzero(used & np.isnan(file.area))
    if len(bad):
        raise InputError(
            f"{file.name}: {len(bad):,} annotations have no area, the first at position {bad[0]:,}; COCO's rule "
            "needs it"
        )
    zero = (file.ids == 0).astype(np.uint8)
    if mode == "strict":
        _need_unique(file)
    elif zero.any():
        warnings.warn(
            f"{file.name} has an annotation with the id 0: pycocotools never counts it as found; here it is an "
            "ordinary cell (mode='strict' reproduces pycocotools)",
            stacklevel=5,
        )
    shapes = _boxes(file, used) if protocol.shape == "bbox" else _masks(file, frame, image, used, threads)
    return Annotations(image, category, **shapes, area=file.area, crowd=file.iscrowd, id_zero=zero)


def _need_unique(file: CocoFile) -> None:
    ids = np.sort(np.delete(file.ids, list(file.odd_ids)) if file.odd_ids else file.ids)
    repeated = int((ids[1:] == ids[:-1]).sum()) if len(ids) > 1 else 0
    if repeated:
        raise MetricError(
            f"{file.name}: {repeated:,} annotations repeat the id of another, which pycocotools silently mixes up; "
            "use corrected mode"
        )


def _results(
    file: CocoFile, gt_file: CocoFile, frame: _Frame, protocol: Protocol, mode: Mode, threads: int
) -> Annotations:
    if not len(file) and mode == "strict":
        raise MetricError(f"{file.name} has no results, and pycocotools then raises IndexError; use corrected mode")
    unknown = [k for k in file.image_keys if k not in frame.images]
    if unknown:
        raise InputError(
            f"{file.name} names {len(unknown)} images that {gt_file.name} does not list, the first {unknown[0]!r}; "
            "expected results for its images only"
        )
    image, category = frame.columns(file)
    used = (image >= 0) & (category >= 0)
    score = np.zeros(0) if not len(file) else file.score
    if score is None or np.isnan(score[used]).any():
        lacking = len(file) if score is None else int(np.isnan(score[used]).sum())
        raise InputError(f"{file.name}: {lacking:,} of {len(file):,} results have no score that is a number")
    if file.mask_score is not None and protocol == LIVECELL:
        score = np.where(np.isnan(file.mask_score), score, file.mask_score)
    boxed = file.bbox is not None and bool(len(file)) and not np.isnan(file.bbox[0]).any()
    if protocol.shape == "bbox":
        if not boxed:  # as loadRes: the tight box, and the area of the mask
            boxes, area = _tight(file, frame, image, used, threads)
            return Annotations(image, category, boxes=boxes, area=area, score=score)
        boxes = _boxes(file, used)["boxes"]
        return Annotations(image, category, boxes=boxes, area=boxes[:, 2] * boxes[:, 3], score=score)
    mask_area: NDArray[np.float64] | None = None
    if mode == "strict" and boxed and protocol.box_areas and file.bbox is not None:
        mask_area = np.ascontiguousarray(file.bbox[:, 2] * file.bbox[:, 3])
    return Annotations(image, category, **_masks(file, frame, image, used, threads), area=mask_area, score=score)


def _boxes(file: CocoFile, used: NDArray[np.bool_]) -> dict[str, Any]:
    boxes = np.zeros((0, 4)) if not len(file) else file.bbox
    if boxes is None or np.isnan(boxes[used]).any():
        raise InputError(f"{file.name}: not every annotation has a bbox of four numbers")
    return {"boxes": np.where(used[:, None], boxes, 0.0)}


def _tight(
    file: CocoFile, frame: _Frame, image: NDArray[np.int32], used: NDArray[np.bool_], threads: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measure tight boxes and areas of the masks of results, one image size after another."""
    shapes = _masks(file, frame, image, used, threads)
    masks: RunLengths = shapes["masks"]
    sizes: NDArray[np.int32] = shapes["sizes"]
    boxes, areas = np.zeros((len(file), 4)), np.zeros(len(file))
    for height, width in np.unique(sizes[used], axis=0).tolist():
        rows = np.flatnonzero(used & (sizes == (height, width)).all(axis=1))
        some = Masks.of(masks.take(rows), (height, width))
        boxes[rows], areas[rows] = some.boxes, some.areas
    return boxes, areas


def _masks(
    file: CocoFile, frame: _Frame, image: NDArray[np.int32], used: NDArray[np.bool_], threads: int
) -> dict[str, Any]:
    sizes = np.where(used[:, None], frame.sizes[image] if len(frame.sizes) else 0, 0).astype(np.int32)
    if file.rle_size is not None:
        sizes = np.where((file.shape > 1)[:, None], file.rle_size, sizes)
    sizes = np.ascontiguousarray(np.where(used[:, None], sizes, 0))
    odd = np.flatnonzero(used & ((file.shape == 0) | (file.shape == 4) | (sizes < 0).any(axis=1)))
    if len(odd):
        raise InputError(
            f"{file.name}: {len(odd):,} annotations have no mask that can be read, the first at position {odd[0]:,} "
            f"(id {file.ids[odd[0]]}); expected polygons or run lengths with a size"
        )
    text, ends = file.counts(np.where(used, 1, 0).astype(np.uint8), sizes, threads)
    return {"masks": RunLengths(text, ends), "sizes": sizes}
