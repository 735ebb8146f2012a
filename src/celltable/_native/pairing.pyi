"""Assignment, outlines and centroids; celltable.scoring uses them. ValueError names what is wrong with an argument."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def assign(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.float64],
    n_rows: int,
    n_columns: int,
) -> NDArray[np.uint8]:
    """Maximise the weight of a one-to-one assignment on sparse edges (n,): 1 for each edge taken.

    Rows and columns may stay unassigned; edges of weight 0 or less are never taken.
    """

def boundary(
    gt: NDArray[Any], pred: NDArray[Any], radii: Sequence[float], wrap: bool, first: int = 0, last: int = -1
) -> NDArray[np.int64]:
    """Dilate the outlines of both label maps by a disc per radius and count pixels (radii, 3): shared, gt, pred.

    Only rows first to last - 1 are counted. `wrap` clears pixels whose disc contains a multiple of 256 outline pixels,
    as SciPy's convolution of boolean arrays does.
    """

def outlines(label_map: NDArray[Any]) -> NDArray[np.uint8]:
    """Mark the outer outline of every label, as listed by OpenCV's external contours."""

def coordinate_sums(label_map: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum x and y over the pixels of each label of `ids` (ascending): (n, 2)."""
