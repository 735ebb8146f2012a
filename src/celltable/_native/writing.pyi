"""Write cells as text directly from arrays; formats use it through celltable.formats._rows and _polygons."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Ints = NDArray[np.int64]

class Rings:
    """Rows of parts of rings of points, and the text around them (see celltable.formats._rows.Layout)."""

    def __init__(
        self,
        xy: NDArray[Any],
        ring_first: _Ints,
        part_first: _Ints,
        row_first: _Ints,
        layout: Sequence[bytes],
        numbers: str,
        closed: bool,
        width: float,
        height: float,
    ) -> None: ...

class Masks:
    """Run lengths as written by COCO, where `there` is not 0; `masks` has data and offsets."""

    def __init__(self, masks: Any, there: NDArray[np.uint8], height: int, width: int, uncompressed: bool) -> None: ...

def rows(n: int, pieces: Sequence[Any], between: bytes) -> bytes:
    """Write n rows of pieces: bytes, or (bytes before, a column, bytes after), left out where its value is missing."""

def grouped(
    xy: NDArray[np.int32], ring_first: _Ints, mask_first: _Ints, is_hole: NDArray[np.uint8], simple: bool
) -> tuple[NDArray[np.int32], _Ints, _Ints, _Ints]:
    """Order rings by part, each outer ring with its holes: xy, first point per ring, ring per part, part per row.

    `simple` splits rings that touch themselves at a corner.
    """
