"""Centres of cells, and the one-to-one assignment of centres with the smallest sum of distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celltable.errors import MetricError

from .side import Side
from .strips import label_sums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
DENSE = 400_000_000  # distances, 3.2 GB: 20,000 cells on each side


def centroids(side: Side) -> Floats:
    """Compute the mean x and y of the pixels of each cell of a side, float64 (n, 2)."""
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


def nearest_assignment(gt_xy: Floats, pred_xy: Floats) -> tuple[Ints, Ints, Floats]:
    """Assign points one to one with the smallest sum of distances: rows of `gt_xy`, rows of `pred_xy`, distances.

    Raises
    ------
    MetricError
        If the distance matrix would not fit in memory.
    """
    from scipy.optimize import linear_sum_assignment

    refuse_many(len(gt_xy), len(pred_xy))
    if not len(gt_xy) or not len(pred_xy):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    dx, dy = (gt_xy[:, k, None] - pred_xy[None, :, k] for k in (0, 1))
    distance = np.sqrt(dx**2 + dy**2)
    gt, pred = linear_sum_assignment(distance)
    return gt, pred, distance[gt, pred]


def refuse_many(n_gt: int, n_pred: int) -> None:
    """Raise if the distance matrix of so many points would not fit in memory."""
    if n_gt * n_pred > DENSE:
        raise MetricError(
            f"pairing {n_gt:,} with {n_pred:,} centres by the official rule needs all distances in memory "
            f"({8e-9 * n_gt * n_pred:,.0f} GB); cut the image into tiles"
        )


def pair_points(gt_xy: Floats, pred_xy: Floats, radius: float) -> tuple[Ints, Ints]:
    """Pair points by the assignment with the smallest sum of distances, and keep the pairs within `radius`.

    As in HoVer-Net's pair_coordinates, the radius is applied after assigning all points, so the result is not the
    largest matching within the radius.

    >>> pair_points(np.array([[0.0, 0.0]]), np.array([[9.0, 0.0], [3.0, 4.0]]), 5.0)
    (array([0]), array([1]))
    """
    gt, pred, distance = nearest_assignment(gt_xy, pred_xy)
    return gt[distance <= radius], pred[distance <= radius]
