"""Write cells as text straight from columns: rows of JSON, XML or lines, without a Python object per cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from celltable._native import writing
from celltable.cells import Instances
from celltable.geometry.masks import Masks

from .polygons import Shapes

Column = list[Any] | NDArray[np.int64] | NDArray[np.float64] | writing.Rings | writing.Masks
Piece = bytes | tuple[bytes, Column, bytes]


class Layout(NamedTuple):
    """The text around points, rings, the parts of a cell, and cells of one part or of several."""

    one: bytes = b""
    one_end: bytes = b""
    many: bytes = b""
    many_end: bytes = b""
    part: bytes = b""
    part_end: bytes = b""
    ring: bytes = b""
    ring_end: bytes = b""
    point: bytes = b""
    between: bytes = b","  # x and y
    point_end: bytes = b""
    next_point: bytes = b","
    next: bytes = b","  # ring or part


COCO_POLYGONS: Final = Layout(b"[", b"]", b"[", b"]", b"[", b"]")  # [[x,y,x,y],[…]]


def rows(n: int, pieces: Sequence[Piece], between: bytes = b",") -> bytes:
    """Write `n` rows, each made of the pieces in turn: constants, and columns with the text before and after a value.

    A column is a list (str, bool, int, float and lists of them as JSON; bytes as they are), an array of int64 or
    float64, (n,) or (n, k), or `rings` or `masks`. For None and NaN the text around the value is also left out.

    >>> rows(2, [b"{", (b'"a":', [1, None], b""), (b'"b":', np.array([np.nan, 0.5]), b""), b"}"])
    b'{"a":1},{"b":0.5}'
    """
    return writing.rows(n, pieces, between)


def rings(
    shapes: Shapes,
    layout: Layout,
    *,
    numbers: str = "json",
    closed: bool = False,
    unit: tuple[float, float] = (1.0, 1.0),
) -> writing.Rings:
    """Make a column of outlines, empty for cells without parts.

    Parameters
    ----------
    numbers
        How floats are written: ``json``, ``brief`` (Python's repr, whole numbers without ``.0``) or ``fraction`` (nine
        decimals at most). Integers remain integers.
    closed
        Repeat the first point of a ring at its end.
    unit
        Divisors of x and y.
    """
    firsts = (shapes.ring_first, shapes.part_first, shapes.cell_first)
    return writing.Rings(shapes.xy, *firsts, layout, numbers, closed, *map(float, unit))


def masks(cells: Masks, where: NDArray[np.bool_], uncompressed: bool = False) -> writing.Masks:
    """Make a column of COCO segmentations, ``{"size":[h,w],"counts":…}``, from run lengths; empty outside `where`."""
    return writing.Masks(cells, np.ascontiguousarray(where, bool).view(np.uint8), *cells.size, uncompressed)


def numbers(values: Any) -> NDArray[np.int64] | NDArray[np.float64]:
    """Make a column of numbers, whole numbers as integers."""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, np.float64)
    return np.ascontiguousarray(array, np.int64)


def said(cells: Instances, name: str, plain: Any = None) -> list[Any] | NDArray[np.float64] | None:
    """Return a column of cells with None (or NaN) for values equal to `plain`; None if all are.

    >>> cells = Instances.from_masks([np.ones((1, 1)), np.ones((1, 1))], (1, 1), crowd=[True, False])
    >>> said(cells, "crowd", False), said(cells, "ignore", False)
    ([True, None], None)
    """
    value = getattr(cells, name)
    if value is None or value is plain:
        return None
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 1 and plain is None:
        array = np.ascontiguousarray(value, np.float64)
        return None if np.isnan(array).all() else array
    found = [None if v == plain else v for v in cells.column(name)]
    return found if any(v is not None for v in found) else None


def fields(columns: Sequence[tuple[str, Column | None]], first: bytes = b",") -> list[Piece]:
    """Make the pieces ``,"name":value`` for the given columns."""
    return [(b'%s"%s":' % (first, name.encode()), column, b"") for name, column in columns if column is not None]
