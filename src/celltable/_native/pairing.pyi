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
) -> NDArray[np.uint8]: ...
def boundary(
    gt: NDArray[Any], pred: NDArray[Any], radii: Sequence[float], wrap: bool, first: int = 0, last: int = -1
) -> NDArray[np.int64]: ...
def outlines(label_map: NDArray[Any]) -> NDArray[np.uint8]: ...
def coordinate_sums(label_map: NDArray[Any], ids: NDArray[np.int64]) -> NDArray[np.int64]: ...
