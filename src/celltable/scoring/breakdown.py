"""Breakdowns: cells by class or by size, and images by a column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from celltable.errors import NotFoundError

from .pair import Pair

CELL_COLUMNS: Final = ("size", "class")
SIZE_EDGES: Final = (0.0, 324.0, 961.0, np.inf)  # px²: LIVECell's small, medium, large


class ImageFacts(Protocol):
    """What a breakdown needs to know of an image: its columns, its number of cells and its size."""

    @property
    def meta(self) -> Mapping[str, Any]: ...
    @property
    def n_gt(self) -> int: ...
    @property
    def n_pixels(self) -> int: ...


def by_class(pair: Pair) -> Iterator[tuple[str, Pair]]:
    """Restrict the pair to each class in turn."""
    if pair.gt.class_codes is None or pair.pred.class_codes is None:
        return
    for code, name in enumerate(pair.class_names):
        yield name, pair.kept(pair.gt.class_codes == code, pair.pred.class_codes == code)


def by_size(pair: Pair, edges: Sequence[float]) -> Iterator[tuple[str, Pair]]:
    """Restrict the pair to the cells of each area range.

    A prediction belongs to the range of the cell it overlaps most, and to that of its own area if it overlaps none.
    """
    table = pair.overlap
    area = table.pred_areas.astype(np.float64)
    order = np.argsort(table.intersection, kind="stable")
    area[table.pred_index[order]] = table.gt_areas[table.gt_index[order]]  # the largest overlap is written last
    gt_bin = np.searchsorted(edges, table.gt_areas, side="right") - 1
    pred_bin = np.searchsorted(edges, area, side="right") - 1
    for k in range(len(edges) - 1):
        yield _range(edges[k], edges[k + 1]), pair.kept(gt_bin == k, pred_bin == k)


def _range(low: float, high: float) -> str:
    return f"{low:g} px² and more" if np.isinf(high) else f"{low:g}-{high:g} px²"


def group_labels(images: Sequence[ImageFacts], column: str) -> list[str | None]:
    """Return the group of each image for a column of the images, or for "density".

    Raises
    ------
    NotFoundError
        If no image has the column.
    """
    if column == "density":
        return _thirds([image.n_gt / max(image.n_pixels, 1) for image in images])
    values = [image.meta.get(column) for image in images]
    if all(v is None for v in values):
        known = sorted({k for image in images for k, v in image.meta.items() if v is not None})
        raise NotFoundError(
            f"no image has the column '{column}'. There are: {', '.join([*known, 'density', *CELL_COLUMNS])}."
        )
    return [None if v is None else str(v) for v in values]


def _thirds(values: Sequence[float]) -> list[str | None]:
    low, high = np.quantile(values, (1 / 3, 2 / 3))
    return ["1 sparse" if v <= low else "2 middle" if v <= high else "3 dense" for v in values]


def natural(text: str) -> tuple[Any, ...]:
    """Make a sort key under which "image 9" comes before "image 10".

    >>> sorted(["b10", "b9", "a"], key=natural)
    ['a', 'b9', 'b10']
    """
    parts = [part for part in re.split(r"(\d+)", text) if part]
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
