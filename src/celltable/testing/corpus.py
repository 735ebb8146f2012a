"""Generate small samples for testing formats, with everything that a cell annotation can be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample
from celltable.geometry import polygon

Mask = NDArray[np.bool_]


def disc(size: tuple[int, int], row: float, column: float, radius: float) -> Mask:
    """Draw a filled disc."""
    y, x = np.ogrid[: size[0], : size[1]]
    return np.asarray((y - row) ** 2 + (x - column) ** 2 <= radius**2)


def picture(size: tuple[int, int], seed: int, dtype: str = "uint8", channels: int = 3) -> NDArray[Any]:
    """Draw random pixels that use the whole range of the type."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    shape = (*size, channels) if channels > 1 else size
    return rng.integers(0, top, shape, dtype=dtype, endpoint=True)


def sample(image_id: str, masks: Sequence[Mask], size: tuple[int, int], seed: int = 0, **extra: Any) -> Sample:
    """Make a sample with pixels, image fields from `image` and cell columns from `columns`."""
    pixels = extra.get("pixels", picture(size, seed))
    image = Image(image_id, *size, **extra.get("image", {}))
    cells = Instances.from_masks(masks, size, **extra.get("columns", {}))
    load = None if pixels is None else lambda: pixels
    return Sample(image, cells, load_pixels=load)


def blobs(size: tuple[int, int], n: int, seed: int) -> list[Mask]:
    """Draw `n` discs anywhere, so that some overlap and some are cut by the border."""
    rng = np.random.default_rng(seed)
    top = min(size)
    found = []
    for _ in range(n):
        row, column = rng.uniform(0, size[0] - 1), rng.uniform(0, size[1] - 1)
        found.append(disc(size, row, column, rng.uniform(1.5, top / 5)))
    return found


def corpus(
    size: tuple[int, int] | None = None, classes: Sequence[str] = ("Neoplastic", "Inflammatory")
) -> list[Sample]:
    """Make one sample per difficulty, in id order; all of the same size if `size` is given."""
    return list(_corpus(size, classes))


def _corpus(fixed: tuple[int, int] | None, classes: Sequence[str]) -> Iterator[Sample]:
    def use(size: tuple[int, int]) -> tuple[int, int]:
        return fixed or size

    size = use((40, 56))
    apart = [disc(size, 8, 8, 5), disc(size, 8, 30, 6), disc(size, 28, 20, 7)]
    yield sample("a-plain", apart, size, 1)

    columns = {
        "class_name": [classes[0], None, classes[1]],
        "instance_id": [2, 7, 300],
        "kind": ["nucleus", "cell", "nucleus"],
    }
    columns["parent"] = [7, None, None]
    yield sample("b-classes-gaps-kinds", apart, size, 2, columns=columns)

    size = use((64, 48))
    ring = disc(size, 20, 20, 9) & ~disc(size, 20, 20, 4)
    two = disc(size, 40, 10, 5) | disc(size, 50, 30, 3)
    both = (disc(size, 50, 40, 6) & ~disc(size, 50, 40, 2)) | disc(size, 8, 40, 3)
    yield sample("c-holes-parts", [ring, two, both], size, 3)

    size = use((50, 50))
    hidden = disc(size, 25, 25, 3)
    yield sample("d-overlap", [hidden, disc(size, 25, 25, 8), disc(size, 25, 34, 8)], size, 4)

    yield sample("e-empty", [], use((32, 44)), 5)

    size = use((48, 48))
    scored = {"score": [0.5, 0.25, None], "crowd": [True, False, False], "ignore": [False, False, True]}
    scored["class_name"] = [classes[0], classes[1], classes[0]]
    scored["class_names"] = [[classes[0], classes[1]], None, None]
    scored["class_scores"] = [[0.5, 0.25], None, None]
    yield sample("f-scores-crowd-multi", blobs(size, 3, 9), size, 6, columns=scored)

    size = use((40, 60))
    details = {"truncated": [True, False], "annotator": [None, "manual"], "published_area": [80.5, None]}
    details["published_bbox"] = [None, [1.0, 2.0, 3.5, 4.0]]
    facts = {
        "tissue": "Colon",
        "split": "train",
        "exhaustive": False,
        "labels": ("1", "2"),
        "metadata": {"plate": "P1", "row": "5"},
    }
    yield sample("g-details", [disc(size, 10, 10, 6), disc(size, 25, 40, 5)], size, 7, columns=details, image=facts)

    size = use((44, 44))
    parts = [[[5.25, 5.5, 20.0, 6.0, 12.75, 22.25]], [[30.0, 30.0, 40.5, 30.0, 40.5, 40.25, 30.0, 40.0]]]
    drawn = Instances(polygon.to_masks(parts, size), polygon=[polygon.pack(parts[0]), None])
    pixels = picture(size, 8)
    yield Sample(Image("h-polygons", *size), drawn, load_pixels=lambda: pixels)

    size = use((36, 36))
    yield sample("i-empty-mask", [disc(size, 9, 9, 4), np.zeros(size, bool), disc(size, 25, 25, 4)], size, 9)

    size = use((70, 90))
    yield sample("j-many/../täg", blobs(size, 25, 10), size, 10, image={"metadata": {}})

    yield sample("k-no-pixels", blobs(use((30, 50)), 4, 11), use((30, 50)), pixels=None)

    yield sample("l-unlabelled", [], use((30, 46)), 12, image={"annotated": False})
