"""Label maps: connected components, consecutive labels, areas, boxes and centroids of all labels in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable._native import geometry as _core

from ._arrays import label_array


@dataclass(frozen=True, slots=True)
class Measures:
    """Per label: `ids` int64 ascending, `areas` px², `boxes` int32 (n, 4) x y w h, `centroids_xy` float (n, 2)."""

    ids: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int32]
    centroids_xy: NDArray[np.float64]


def measure(label_map: ArrayLike) -> Measures:
    """Measure areas, tight boxes and centroids of all labels of a label map (row, column), 0 = background.

    >>> measure(np.array([[0, 3, 3], [0, 0, 3]])).areas.tolist()
    [3]
    """
    array, transposed = label_array(label_map)
    return Measures(*_core.label_measures(np.ascontiguousarray(array.T) if transposed else array))


@dataclass(frozen=True, slots=True)
class Layers:
    """The cells of a stack of label maps, numbered 1, 2, … in the order of layer and value.

    `layer` int32 (n,) and `value` int64 (n,) say where each cell comes from. `flat` int32 (row, column) holds the
    numbers, later layers on top; `planes` int32 (layer, row, column) holds them layer by layer if layers share pixels,
    and is empty otherwise. `strange` int64 (layers + 1,) counts the values in each layer, and in the background after
    them, that are not whole numbers of 0 or more, and are left out; `shared` counts the pixels of several layers, and
    `unclaimed` those that are in no layer and not in the background, if the stack has one.
    """

    flat: NDArray[np.int32]
    planes: NDArray[np.int32]
    layer: NDArray[np.int32]
    value: NDArray[np.int64]
    strange: NDArray[np.int64]
    shared: int
    unclaimed: int

    @property
    def maps(self) -> tuple[NDArray[np.int32], ...]:
        """Return label maps that hold every cell whole: one, or one per layer if layers share pixels."""
        return tuple(self.planes) if self.shared else (self.flat,)


def layers(stack: ArrayLike, n: int) -> Layers:
    """Read the first n layers of a stack (row, column, layer) of label maps of any number type.

    >>> cells = layers(np.array([[[7.0, 0, 0], [0, 0, 1], [7, 2, 0], [0, 0, 0]]]), 2)
    >>> cells.flat.tolist(), cells.layer.tolist(), cells.value.tolist(), cells.shared, cells.unclaimed
    ([[1, 0, 2, 0]], [0, 1], [7, 2], 1, 1)
    """
    array = np.ascontiguousarray(stack)
    if array.dtype.kind in "bu" and array.dtype.itemsize != 2:
        array = array.view(np.uint8) if array.dtype.itemsize == 1 else array.astype(np.int64)
    elif array.dtype not in _LAYER_TYPES:
        array = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    return Layers(*_core.layer_cells(array, n))


_LAYER_TYPES = [np.dtype(t) for t in (np.uint16, np.int32, np.int64, np.float32, np.float64)]


def areas_boxes(label_map: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Measure ids, areas and boxes of all labels."""
    measures = measure(label_map)
    return measures.ids, measures.areas, measures.boxes


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
    """Relabel the cells 1..n in ascending order of the old labels.

    >>> relabel(np.array([[0, 9, 4, 9]])).tolist()
    [[0, 2, 1, 2]]
    """
    array = np.asarray(label_map)
    label_array(array[:0])
    old = measure(array).ids
    if old.size and int(old[-1]) < 1 << 22:
        table = np.zeros(int(old[-1]) + 1, np.int32)
        table[old] = np.arange(1, old.size + 1, dtype=np.int32)
        return table[array.astype(np.int64, copy=False)]
    new = np.searchsorted(old, array).astype(np.int32) + 1
    new[array == 0] = 0
    return new
