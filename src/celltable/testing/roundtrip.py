"""Compare samples with what a format reads back, in terms of the losses, from the arrays alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from celltable.cells import Instances, Sample
from celltable.errors import InputError
from celltable.plugins import losses as kinds
from celltable.plugins.format import ConversionReport, Format, Limits

DETAILS = ("truncated", "annotator", "published_area", "published_bbox")
ADDED_METADATA = {"coco_id", "file_name", "usage"}  # keys that formats have to add


def difference(
    form: Format, before: Sequence[Sample], after: Sequence[Sample], report: ConversionReport
) -> Counter[str]:
    """Count what was read back differently, in terms of the losses, from the arrays alone."""
    limits, found = form.limits, Counter[str]()
    back = {s.image.image_id: s for s in after}
    assert len(back) == len(after), "an image came back twice"
    assert set(back) <= {s.image.image_id for s in before}, "an image came back that was never written"
    for sample in before:
        if sample.image.image_id not in back:
            assert not len(sample.instances), f"{sample.image.image_id} is gone with its cells"
            found[kinds.EMPTY_IMAGES] += 1
            found[kinds.IMAGE_DETAILS] += bool(kinds.image_details(sample.image))
            found[kinds.PIXELS] += sample.load_pixels is not None
            continue
        _image(sample, back[sample.image.image_id], found)
        if limits.semantic:
            _classes_of_pixels(sample.instances, back[sample.image.image_id].instances, limits.classes, found)
            continue
        _cells(sample.instances, back[sample.image.image_id].instances, limits, report, found)
    if limits.divides:
        _parts(before, back, found)
    return +found


def _parts(before: Sequence[Sample], back: Mapping[str, Sample], found: Counter[str]) -> None:
    """Count, for a format that divides the images, those read back in a different part, and the groups divided."""
    parts: dict[str, set[str | None]] = {}
    for old in (s.image for s in before):
        part = back[old.image_id].image.split
        assert part in ("train", "val", "test")
        found[kinds.MOVED] += old.split not in (None, part)
        parts.setdefault(old.leakage_group or f"image {old.image_id}", set()).add(part)
    found[kinds.DIVIDED] += sum(len(cut) > 1 for cut in parts.values())


def _classes_of_pixels(old: Instances, new: Instances, classes: Sequence[str], found: Counter[str]) -> None:
    """Compare a semantic format: the pixels of each class must come back, with cells as their components."""
    known = [n is not None and n in classes for n in old.column("class_name")]
    empty = np.asarray(old.area) == 0
    found[kinds.EMPTY_MASKS] += int(empty.sum())
    found[kinds.NOT_DRAWN] += sum(not k and not e for k, e in zip(known, empty, strict=True))
    cells = old.take(np.array(known, bool) & ~empty)
    found[kinds.IDENTITY] += len(cells)
    found[kinds.HIDDEN] += int(cells.area.sum()) - int(np.any([np.zeros(old.size, bool), *cells.masks()], axis=0).sum())
    seen: dict[str, Any] = {}
    for masks, names in ((cells.masks(), cells.column("class_name")),):
        owner = np.full(old.size, "", dtype=object)
        for mask, name in zip(masks, names, strict=True):
            owner[mask] = name
        seen = {n: owner == n for n in names}
    back = {
        n: np.any([m for m, o in zip(new.masks(), new.column("class_name"), strict=True) if o == n], axis=0)
        for n in seen
    }
    assert all(np.array_equal(seen[n], back[n]) for n in seen)
    found[kinds.MULTI_CLASS] += sum(len(v or ()) > 1 for v in cells.column("class_names"))
    found[kinds.SCORES] += sum(v is not None for v in cells.column("score"))
    details = zip(*(cells.column(name) for name in DETAILS), strict=True)
    found[kinds.DETAILS] += sum(any(v not in (None, False) for v in row) for row in details)
    found[kinds.CROWD] += sum(a or b for a, b in zip(cells.column("crowd"), cells.column("ignore"), strict=True))
    found[kinds.KIND] += sum(
        k != "nucleus" or p is not None for k, p in zip(cells.column("kind"), cells.column("parent"), strict=True)
    )


def _image(old: Sample, new: Sample, found: Counter[str]) -> None:
    assert new.image.size == old.image.size
    if old.load_pixels is not None:
        if new.load_pixels is None:
            found[kinds.PIXELS] += 1
        elif not np.array_equal(old.pixels(), new.pixels()):
            found[kinds.PIXELS_CHANGED] += 1
    elif new.load_pixels is not None:
        assert not new.pixels().any()
        found[kinds.GIVEN_PIXELS] += 1
    changed = False
    for field in kinds.image_details(old.image):
        was, now = getattr(old.image, field), getattr(new.image, field)
        changed |= (not was.items() <= now.items()) if field == "metadata" else was != now
    found[kinds.IMAGE_DETAILS] += changed
    found[kinds.UNLABELLED] += new.image.annotated and not old.image.annotated
    found[kinds.PARTIAL] += new.image.exhaustive and not old.image.exhaustive
    assert old.image.annotated or not new.image.annotated or not len(new.instances)
    extra = set(new.image.metadata) - set(old.image.metadata) - ADDED_METADATA
    assert not extra, f"metadata that was never written: {extra}"


def _cells(old: Instances, new: Instances, limits: Limits, report: ConversionReport, found: Counter[str]) -> None:
    pairs = _pairs(old, new, report, found)
    before, after = _Columns(old), _Columns(new)
    for i, j in pairs:
        found[kinds.IDS] += before.ids[i] != after.ids[j]
        _class(before.of("class_name", i), after.of("class_name", j), limits, found)
        several = before.of("class_names", i) or []
        if len(several) > 1 and several != after.of("class_names", j):
            found[kinds.MULTI_CLASS] += 1
        elif len(several) > 1:
            assert before.of("class_scores", i) == after.of("class_scores", j)
        _score(before.of("score", i), after.of("score", j), limits, found)
        found[kinds.CROWD] += any(before.of(c, i) != after.of(c, j) for c in ("crowd", "ignore"))
        found[kinds.KIND] += any(before.of(c, i) != after.of(c, j) for c in ("kind", "parent"))
        polygon = before.of("polygon", i)
        found[kinds.POLYGONS] += polygon is not None and polygon != after.of("polygon", j)
        lost = [before.of(c, i) for c in DETAILS if before.of(c, i) != after.of(c, j)]
        found[kinds.DETAILS] += any(v not in (None, False) for v in lost)
        _mask(before.masks[i], after.masks[j], limits, found)


class _Columns:
    def __init__(self, cells: Instances) -> None:
        self.cells, self.ids, self.masks = cells, cells.ids.tolist(), cells.masks()

    def of(self, name: str, k: int) -> Any:
        return self.cells.column(name)[k]


def _pairs(old: Instances, new: Instances, report: ConversionReport, found: Counter[str]) -> list[tuple[int, int]]:
    """Match cells with those read back: by id if ids survive, otherwise by order."""
    ids = {i: j for j, i in enumerate(new.ids.tolist())}
    kept = [k for k, a in enumerate(old.area) if a > 0] if kinds.EMPTY_MASKS in report.items else list(range(len(old)))
    found[kinds.EMPTY_MASKS] += len(old) - len(kept)
    if kinds.IDS in report.items:
        assert len(kept) == len(new), "cells are missing without being reported"
        return list(zip(kept, range(len(new)), strict=True))
    pairs = []
    for k in kept:
        if int(old.ids[k]) in ids:
            pairs.append((k, ids[int(old.ids[k])]))
        else:
            found[kinds.COVERED] += 1
            found[kinds.HIDDEN] += int(old.area[k])
    assert len(pairs) == len(new), "cells came back that were never written"
    return pairs


def _class(was: str | None, now: str | None, limits: Limits, found: Counter[str]) -> None:
    if was is None:
        found[kinds.GIVEN_CLASS] += now is not None
        assert now in (None, limits.class_name)
    elif was != now:
        found[kinds.CLASSES] += 1


def _score(was: float | None, now: float | None, limits: Limits, found: Counter[str]) -> None:
    if was is None:
        found[kinds.GIVEN_SCORE] += now is not None
        assert now in (None, limits.score)
    elif was != now:
        assert now is None, "a score changed"
        found[kinds.SCORES] += 1


def _mask(was: Any, now: Any, limits: Limits, found: Counter[str]) -> None:
    if np.array_equal(was, now):  # a published polygon may have several parts and stay
        return
    parts, n = ndimage.label(was)
    base = was
    if limits.one_part and n > 1:
        sizes = np.bincount(parts.ravel())[1:]
        largest = [
            parts == label for label in 1 + np.flatnonzero(sizes == sizes.max())
        ]  # any of several equal parts may stay
        base = max(largest, key=lambda part: int((part & now).sum()))
        found[kinds.PARTS] += 1
    if (now & ~base).any():  # parts are joined by edges, so what is around them is joined by corners, too
        corners = np.ones((3, 3), bool)
        assert np.array_equal(now, ndimage.binary_fill_holes(base, corners)), (
            "pixels were added that were not in a hole"
        )
        found[kinds.HOLES] += 1
    found[kinds.HIDDEN] += int((base & ~now).sum())


def unreadable_without_sizes(form: Format, out: Path, before: Sequence[Sample]) -> int:
    """Count the images whose size is not read back if no images are known."""
    assert form.read is not None
    try:
        back = {s.image.image_id: s.image.size for s in form.read(out, {})}
    except InputError:
        return len(before)
    return sum(back.get(s.image.image_id) != s.image.size for s in before)
