"""Convert arrays to the types and layouts that the compiled core accepts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.errors import MaskError

_NATIVE = {np.dtype(t) for t in (np.uint8, np.uint16, np.int32, np.int64)}
_WIDER = {"b": np.uint8, "i1": np.int32, "i2": np.int32, "u4": np.int64}


def checked_size(size: Any) -> tuple[int, int]:
    """Return (height, width) as integers, or raise MaskError if no mask can have that size."""
    height, width = (int(v) for v in size)
    if not (0 <= height < 1 << 31 and 0 <= width < 1 << 31 and height * width <= 1 << 40):
        raise MaskError(f"a mask of {height} × {width} px: expected sides of 0 or more and at most 2^40 pixels")
    return height, width


def label_array(label_map: ArrayLike) -> tuple[NDArray[Any], bool]:
    """Return a label map as a C-contiguous array of a native type, and whether it was transposed.

    Raises
    ------
    MaskError
        If it is not 2-D or contains anything but integers.
    """
    array = np.asarray(label_map)
    if array.ndim != 2:
        raise MaskError(f"a label map has two axes (row, column); found {array.ndim}: {array.shape}")
    if array.dtype.kind not in "biu":
        raise MaskError(f"a label map holds integers; found {array.dtype}. Round and convert it, for example to int32.")
    if array.dtype not in _NATIVE:
        array = _converted(array)
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return array.T, True
    return np.ascontiguousarray(array), False


def _converted(array: NDArray[Any]) -> NDArray[Any]:
    dtype = array.dtype.newbyteorder("=")
    if dtype in _NATIVE:
        return array.astype(dtype)
    if dtype.kind == "b":
        return array.view(np.uint8)
    if dtype == np.uint32 and (not array.size or int(array.max()) <= np.iinfo(np.int32).max):
        return array.astype(dtype, copy=False).view(np.int32)  # the same bits, not twice as many
    if dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise MaskError(f"a label map holds the label {int(array.max())}; expected at most 2^63 - 1")
    return array.astype(np.int32 if dtype.kind == "i" or dtype.itemsize < 4 else np.int64)
