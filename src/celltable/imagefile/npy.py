"""Read NumPy's .npy files as memory maps or single rows; pickled objects are never loaded."""

from __future__ import annotations

import io
import mmap
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from celltable.errors import ImageFileError, NotFoundError

MAGIC = b"\x93NUMPY"


def header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read (shape, Fortran order, dtype), leaving the file at the first value.

    Raises
    ------
    ImageFileError
        If it is not an .npy file, or holds pickled objects.
    """
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError, SyntaxError) as exc:
        raise ImageFileError(f"{name}: not a readable .npy file ({exc}).") from exc
    if dtype.hasobject:
        raise ImageFileError(f"{name}: holds pickled Python objects, which are never loaded; expected plain numbers.")
    return shape, bool(fortran), dtype


def _sized(file: IO[bytes], size: int, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    start = file.tell()
    shape, fortran, dtype = header(file, name)
    count = 1
    for n in shape:
        count *= n
    at = file.tell() - start
    if min(shape, default=0) < 0 or at + count * dtype.itemsize > size:
        raise ImageFileError(f"{name}: is cut short: {shape} {dtype} needs {count * dtype.itemsize:,} bytes of data.")
    return shape, fortran, dtype, at


def mapped(path: Path, offset: int, size: int, name: str) -> NDArray[Any]:
    """Map the .npy of `size` bytes at `offset` of a file, read-only."""
    with path.open("rb") as file:
        file.seek(offset)
        shape, fortran, dtype, at = _sized(file, size, name)
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset + at, shape, "F" if fortran else "C")


def decoded(data: bytes, name: str) -> NDArray[Any]:
    """Decode the bytes of an .npy file."""
    shape, fortran, dtype, at = _sized(io.BytesIO(data), len(data), name)
    count = int(np.prod(shape, dtype=np.int64))
    array = np.frombuffer(data, dtype, count, at)
    return array.reshape(shape, order="F" if fortran else "C").copy()


def row(array: NDArray[Any], index: int, name: str) -> NDArray[Any]:
    """Copy one row (image) out of a memory-mapped array.

    Raises
    ------
    NotFoundError
        If the row does not exist.
    """
    if array.ndim < 3 or not 0 <= index < len(array):
        raise NotFoundError(f"{name} has no row {index}: its shape is {array.shape}.")
    return np.array(array[index])


def let_go(array: NDArray[Any], index: int) -> None:
    """Release the memory of a row that was read from a memory-mapped array, so that resident memory stays small.

    Does nothing for other arrays, or if the system does not support it.
    """
    if not isinstance(array, np.memmap) or not array.flags.c_contiguous or not hasattr(mmap, "MADV_DONTNEED"):
        return
    mapping: mmap.mmap = getattr(array, "_mmap")  # noqa: B009 - numpy's stubs do not name it
    first = array.offset % mmap.ALLOCATIONGRANULARITY + index * array[0].nbytes
    start = first // mmap.PAGESIZE * mmap.PAGESIZE
    mapping.madvise(mmap.MADV_DONTNEED, start, min(first + array[0].nbytes, len(mapping)) - start)
