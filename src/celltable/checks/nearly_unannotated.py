"""Images with hardly any annotations, compared with similar images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from celltable.cells import Finding, Image, Sample
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, painted

MIN_IMAGES = 5  # fewer similar images do not define a usual number of cells
MAX_SHARE = 0.05  # LIVECell's barely annotated images have 1-9 cells where 200-400 are usual


class Feature(NamedTuple):
    """The number of cells of an image, and the key that similar images share."""

    image_id: str
    cells: int
    kind: tuple[str, str, str, int, int]


def gather(sample: Sample) -> Feature | None:
    """Return the image's number of cells; None if it may rightly be low (unlabelled, partial or ignored images)."""
    image = sample.image
    if not image.annotated or not image.exhaustive or image.ignore:
        return None
    kind = (image.dataset, image.modality or "", image.cell_type or image.tissue or "", image.height, image.width)
    return Feature(image.image_id, len(sample.instances), kind)


def find(
    features: Sequence[Feature | None],
    dataset: Mapping[str, Any],
    *,
    min_images: int = MIN_IMAGES,
    max_share: float = MAX_SHARE,
) -> Iterator[Finding]:
    """Yield one finding per image without cells, or with far fewer cells than similar images have."""
    known = [f for f in features if f is not None]
    by_kind: dict[tuple[str, str, str, int, int], list[int]] = {}
    for f in known:
        by_kind.setdefault(f.kind, []).append(f.cells)
    usual = {kind: median(counts) for kind, counts in by_kind.items() if len(counts) >= min_images}
    for f in known:
        expected = usual.get(f.kind)
        if f.cells == 0:
            more = f"; similar images have {expected:g}" if expected else ""
            yield Finding("nearly-unannotated", f"no cells are annotated{more}", "note", f.image_id, None, 0.0)
        elif expected and f.cells < max_share * expected:
            cells = f"{f.cells} cells are" if f.cells > 1 else "1 cell is"
            text = f"only {cells} annotated; similar images have {expected:g}"
            yield Finding("nearly-unannotated", text, "warning", f.image_id, None, float(f.cells))


def example() -> CheckExample:
    """Return five images of 30 cells and one of a single cell."""
    dots = [np.arange(60).reshape(6, 10) == k for k in range(0, 60, 2)]
    full = [painted(dots, (6, 10), image=Image(f"full {k}", 6, 10)) for k in range(5)]
    return CheckExample.of(*full, painted(dots[:1], (6, 10), image=Image("few", 6, 10)), at=[("few", None)])


CHECK = Check(
    rule="nearly-unannotated",
    title="Nearly unannotated image",
    description=(
        "An image that should be fully annotated but has only a small share of the cells usual for its data set, "
        "modality, cell type and size: its annotation was probably never finished. Images without any cells are notes. "
        "Value: number of cells."
    ),
    find=find,
    scope="dataset",
    gather=gather,
    options=(
        Option("min_images", MIN_IMAGES, "number of similar images from which their median count is used", low=1),
        Option("max_share", MAX_SHARE, "share of the usual count below which an image is reported", low=0, high=1),
    ),
    example=example,
)
