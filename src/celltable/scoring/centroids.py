"""Centres of cells, and the one-to-one assignment of centres with the least sum of distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celltable.errors import MetricError

from .side import Side
from .strips import label_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DENSE = 400_000_000  # distances, 3.2 GB: 20,000 cells on either side


def centroids(side: Side) -> Floats:
    """Mean x and y of the pixels of each cell of a side, float64 (n, 2)."""
    if not len(side):
        return np.zeros((0, 2))
    if side.overlapping:
        sums = np.asarray([_coordinate_sums(side.masks.decode(k)) for k in range(len(side))], np.float64)
    else:
        order = np.argsort(side.ids, kind="stable")
        sums = np.empty((len(side), 2))
        sums[order] = label_sums(side.label_map, np.ascontiguousarray(side.ids[order]))
    return np.asarray(sums / np.maximum(side.areas, 1)[:, None], np.float64)


def _coordinate_sums(mask: NDArray[np.bool_]) -> tuple[int, int]:
    y, x = np.nonzero(mask)
    return int(x.sum()), int(y.sum())


def nearest_assignment(a_xy: Floats, b_xy: Floats) -> tuple[Ints, Ints, Floats]:
    """The one-to-one assignment with the least sum of distances over all points: rows of a, of b, and distances.

    Raises
    ------
    MetricError
        If the matrix of distances, which the rule asks for, would not fit into memory.
    """
    from scipy.optimize import linear_sum_assignment

    refuse_many(len(a_xy), len(b_xy))
    if not len(a_xy) or not len(b_xy):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    dx, dy = (a_xy[:, k, None] - b_xy[None, :, k] for k in (0, 1))
    distance = np.sqrt(dx**2 + dy**2)
    a, b = linear_sum_assignment(distance)
    return a, b, distance[a, b]


def refuse_many(n_a: int, n_b: int) -> None:
    """Raise if the distances of so many points would not fit into memory."""
    if n_a * n_b > DENSE:
        raise MetricError(
            f"pairing {n_a:,} with {n_b:,} centres needs every distance at once ({8e-9 * n_a * n_b:,.0f} GB), as the "
            "official rule has it; cut the image into tiles"
        )


def pair_points(a_xy: Floats, b_xy: Floats, radius: float) -> tuple[Ints, Ints]:
    """Rows of points paired by the assignment with the least sum of distances, kept within `radius`.

    The assignment is over all pairs and the radius is applied after it (pair_coordinates of HoVer-Net), which is not
    the largest matching within the radius.

    >>> pair_points(np.array([[0.0, 0.0]]), np.array([[9.0, 0.0], [3.0, 4.0]]), 5.0)
    (array([0]), array([1]))
    """
    a, b, distance = nearest_assignment(a_xy, b_xy)
    return a[distance <= radius], b[distance <= radius]
