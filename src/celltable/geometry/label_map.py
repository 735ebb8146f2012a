"""Label maps: connected components, consecutive labels, areas, boxes and centroids of all labels in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable._native import geometry as _core

from ._arrays import label_array


@dataclass(frozen=True, slots=True)
class Measures:
    """Of each label: `ids` int64 ascending, `areas` px², `boxes` int32 (n, 4) x y w h, `centroids_xy` float (n, 2)."""

    ids: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int32]
    centroids_xy: NDArray[np.float64]


def measure(label_map: ArrayLike) -> Measures:
    """Areas, tight boxes and centroids of all labels of a label map (row, column), 0 = background.

    >>> measure(np.array([[0, 3, 3], [0, 0, 3]])).areas.tolist()
    [3]
    """
    array, transposed = label_array(label_map)
    return Measures(*_core.label_measures(np.ascontiguousarray(array.T) if transposed else array))


def areas_boxes(label_map: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Ids, areas and boxes of all labels."""
    found = measure(label_map)
    return found.ids, found.areas, found.boxes


def components(label_map: ArrayLike, connectivity: int = 8) -> NDArray[np.int32]:
    """Label the connected components of equal non-zero value, 1, 2, … in reading order of their first pixels.

    Parameters
    ----------
    label_map
        Integers or booleans (row, column); touching pixels of different values are different components.
    connectivity
        4: pixels are joined by edges; 8: also by corners.

    Returns
    -------
    int32 (row, column), 0 = background.

    >>> components(np.array([[5, 5, 2, 0, 5]])).tolist()
    [[1, 1, 2, 0, 3]]
    """
    array, transposed = label_array(label_map)
    labels: NDArray[np.int32] = _core.components(np.ascontiguousarray(array.T) if transposed else array, connectivity)[
        0
    ]
    return labels


def relabel(label_map: ArrayLike) -> NDArray[np.int32]:
    """The same cells with labels 1..n in ascending order of the old labels.

    >>> relabel(np.array([[0, 9, 4, 9]])).tolist()
    [[0, 2, 1, 2]]
    """
    array = np.asarray(label_map)
    label_array(array[:0])
    found = measure(array).ids
    if found.size and int(found[-1]) < 1 << 22:
        table = np.zeros(int(found[-1]) + 1, np.int32)
        table[found] = np.arange(1, found.size + 1, dtype=np.int32)
        return table[array.astype(np.int64, copy=False)]
    new = np.searchsorted(found, array).astype(np.int32) + 1
    new[array == 0] = 0
    return new
