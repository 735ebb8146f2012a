"""Count what a conversion loses, with the same wording for every format."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample
from celltable.geometry.label_map import measure
from celltable.geometry.masks import POLICIES, Flattened

from .format import ConversionReport
from .options import Option

HIDDEN: Final = "overlap: pixels assigned to another cell"
COVERED: Final = "overlap: cells hidden by others"
IDENTITY: Final = "instances: cells drawn as pixels of a class, not separated"
NOT_DRAWN: Final = "classes: cells not drawn, no colour for their class"
HOLES: Final = "holes: cells whose holes were filled"
PARTS: Final = "components: cells reduced to their largest part"
EMPTY_MASKS: Final = "empty masks: cells without pixels left out"
IDS: Final = "ids: cells renumbered"
CLASSES: Final = "classes: cells whose class was dropped"
GIVEN_CLASS: Final = "classes: cells without a class given one"
MULTI_CLASS: Final = "multi-class: cells reduced to their first class"
SCORES: Final = "scores: cells whose score was dropped"
GIVEN_SCORE: Final = "scores: cells without a score given 1"
CROWD: Final = "crowd: cells whose crowd or ignore flag was dropped"
KIND: Final = "kind: cells whose kind or parent was dropped"
POLYGONS: Final = "polygons: cells whose published polygon was dropped"
EXACT: Final = "exact mask: pixels changed by drawing"
SIZE: Final = "image size: images whose size must be known to read them"
EMPTY_IMAGES: Final = "empty images: images without cells left out"
PIXELS: Final = "pixels: images whose pixels were not written"
PIXELS_CHANGED: Final = "pixels: images whose pixels were changed"
GIVEN_PIXELS: Final = "pixels: images without pixels written black"
DETAILS: Final = "details: cells whose truncation, annotator or published area or box was dropped"
IMAGE_DETAILS: Final = "image details: images whose description was dropped"
UNLABELLED: Final = "unlabelled images: unannotated images, which are read as images without cells"
PARTIAL: Final = "partial annotation: partly annotated images, which are read as fully annotated"
MOVED: Final = "split: images moved to another part"
DIVIDED: Final = "split: leakage groups divided among parts"

POLICY: Final = Option("policy", "last-wins", "which cell keeps a pixel that two cells claim", choices=POLICIES)

CELL_DETAILS: Final = {"truncated": False, "annotator": None, "published_area": None, "published_bbox": None}
_NOT_DETAILS = {"image_id", "height", "width", "pixels", "dataset", "channels", "dtype", "annotated", "exhaustive"}


def tally(
    report: ConversionReport,
    sample: Sample,
    keeps: Collection[str],
    image_fields: Collection[str] = (),
    kind: str = "nucleus",
) -> None:
    """Count one image as written, along with everything in it that a format with these features cannot hold.

    Losses in the masks themselves (overlap, holes, components, drawing) depend on how they are written, so the writer
    counts them. `image_fields` are image details that are kept nevertheless; `kind` is the kind that cells are read as
    if the format does not store it.
    """
    cells, n = sample.instances, len(sample.instances)
    report.written["images"] += 1
    report.written["cells"] += n
    counts: dict[str, tuple[str, Callable[[], int]]] = {
        "ids": (IDS, lambda: int(np.count_nonzero(cells.ids != np.arange(1, n + 1)))),
        "classes": (CLASSES, lambda: n_given(cells.class_name, None, n)),
        "multi-class": (MULTI_CLASS, lambda: sum(len(v or ()) > 1 for v in cells.class_names or ())),
        "scores": (SCORES, lambda: n_given(cells.score, None, n)),
        "crowd": (CROWD, lambda: _any(n, (cells.crowd, False), (cells.ignore, False))),
        "kind": (KIND, lambda: _any(n, (cells.kind, kind), (cells.parent, None))),
        "polygons": (POLYGONS, lambda: n_given(cells.polygon, None, n)),
        "details": (DETAILS, lambda: _any(n, *((getattr(cells, k), v) for k, v in CELL_DETAILS.items()))),
        "image-size": (SIZE, lambda: 1),
        "empty-images": (EMPTY_IMAGES, lambda: int(n == 0)),
        "pixels": (PIXELS, lambda: int(sample.load_pixels is not None)),
        "image-details": (IMAGE_DETAILS, lambda: int(bool(image_details(sample.image) - set(image_fields)))),
    }
    for feature, (text, count) in counts.items():
        if feature not in keeps:
            report.add(text, count())
    if "image-details" not in keeps and (n or "empty-images" in keeps):  # an image left out is not misread
        report.add(UNLABELLED, int(not sample.image.annotated and "annotated" not in image_fields))
        report.add(PARTIAL, int(not sample.image.exhaustive and "exhaustive" not in image_fields))


def image_details(image: Image) -> set[str]:
    """List the descriptive fields of an image that differ from their defaults."""
    found = set()
    for f in fields(Image):
        if f.name not in _NOT_DETAILS:
            value = getattr(image, f.name)
            plain = {} if f.name == "metadata" else f.default
            if value != plain:
                found.add(f.name)
    return found


def n_given(value: Any, default: Any, n: int) -> int:
    """Count the cells (of `n`) whose value differs from the column's default."""
    return int(np.count_nonzero(_given(value, default, n)))


def _given(value: Any, default: Any, n: int) -> NDArray[np.bool_]:
    if value is None or isinstance(value, str | bool):
        return np.full(n, value is not None and value != default)
    return np.fromiter((v is not None and (default is None or v != default) for v in value), bool, n)


def _any(n: int, *columns: tuple[Any, Any]) -> int:
    return int(np.count_nonzero(np.logical_or.reduce([_given(value, default, n) for value, default in columns])))


def drop_empty(report: ConversionReport, sample: Sample) -> Sample:
    """Keep the cells that have pixels, and count the others as lost."""
    full = np.asarray(sample.instances.area) > 0
    if full.all():
        return sample
    report.add(EMPTY_MASKS, int(np.count_nonzero(~full)))
    return replace(sample, instances=sample.instances.take(full))


def visible(flat: Flattened, cells: Instances) -> NDArray[np.bool_]:
    """Mark the cells that still have pixels in the flattened label map."""
    if not flat.lost_instances:
        return np.ones(len(cells), bool)
    return np.isin(cells.ids, measure(flat.label_map).ids)


def flatten(
    report: ConversionReport, sample: Sample, keeps: Collection[str], policy: str, **options: Any
) -> NDArray[Any]:
    """Draw the label map of instance ids under a named overlap policy, and count what it and the format lose.

    `options` are those of `tally`, which is given the remaining cells.
    """
    sample = drop_empty(report, sample)
    cells = sample.instances
    flat = cells.label_map(policy)
    report.add(HIDDEN, int(flat.lost_pixels))
    seen = visible(flat, cells)
    if not seen.all():
        report.add(COVERED, int(np.count_nonzero(~seen)))
        cells = cells.take(seen)
    tally(report, replace(sample, instances=cells), keeps, **options)
    return flat.label_map
