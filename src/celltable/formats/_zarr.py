"""Read and write Zarr version 2 arrays (JSON and compressed chunks) without the zarr library."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.errors import InputError

from ._pixels import write_bytes

CHUNK: Final = 1024
MAX_VALUES: Final = 1 << 34
Reader = Callable[[str], bytes | None]


def to_json(value: Any) -> bytes:
    """Encode JSON for the files of an array, so that equal values give equal bytes."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def write_array(folder: Path, values: NDArray[Any], chunks: Sequence[int]) -> int:
    """Write an array into a folder, zlib-compressed, and return the number of files."""
    import imagecodecs

    kind = values.dtype.newbyteorder("<") if values.dtype.itemsize > 1 else values.dtype
    head = {
        "zarr_format": 2,
        "shape": list(values.shape),
        "chunks": list(chunks),
        "dtype": kind.str,
        "compressor": {"id": "zlib", "level": 1},
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "dimension_separator": "/",
    }
    write_bytes(folder / ".zarray", to_json(head))
    n = 1
    for index, where in _grid(values.shape, chunks):
        block = values[where]
        if not block.any():
            continue  # only the fill value
        whole = np.zeros(chunks, kind)
        whole[tuple(slice(k) for k in block.shape)] = block
        write_bytes(folder / "/".join(map(str, index)), bytes(imagecodecs.zlib_encode(whole.tobytes(), level=1)))
        n += 1
    return n


def _grid(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    for index in product(*(range(math.ceil(s / c)) for s, c in zip(shape, chunks, strict=True))):
        yield index, tuple(slice(k * c, min((k + 1) * c, s)) for k, c, s in zip(index, chunks, shape, strict=True))


def read_array(read: Reader, name: str) -> NDArray[Any]:
    """Read a whole array; `read` returns the bytes of a file in its folder, or None if it does not exist.

    Raises
    ------
    InputError
        If it is not a Zarr 2 array, or uses unsupported compression or filters.
    """
    head = _json(read(".zarray"), f"{name}/.zarray")
    try:
        shape, chunks = tuple(map(int, head["shape"])), tuple(map(int, head["chunks"]))
        kind, fill = np.dtype(head["dtype"]), head.get("fill_value") or 0
        sane = len(shape) == len(chunks) and min((*chunks, 1)) > 0 and 0 <= math.prod(shape) <= MAX_VALUES
    except (KeyError, TypeError, ValueError) as exc:
        raise InputError(f"{name}: not the metadata of a zarr array: {exc}") from exc
    if not sane or kind.hasobject or head.get("filters") or head.get("order", "C") != "C":
        raise InputError(
            f"{name}: zarr arrays with filters, objects, Fortran order or an impossible shape are not supported"
        )
    values = np.full(shape, fill, kind)
    join = head.get("dimension_separator", ".")
    for index, where in _grid(shape, chunks):
        data = read(join.join(map(str, index)))
        if data is not None:
            size = math.prod(chunks) * kind.itemsize
            block_bytes = _inflate(data, head.get("compressor"), name, size)
            if len(block_bytes) != size:
                raise InputError(f"{name}: chunk {index} holds {len(block_bytes):,} bytes; expected {size:,}")
            whole = np.frombuffer(block_bytes, kind)
            block = values[where]
            block[...] = whole.reshape(chunks)[tuple(slice(k) for k in block.shape)]
    return values


def _json(data: bytes | None, name: str) -> dict[str, Any]:
    try:
        found = json.loads(data or b"")
    except ValueError as exc:
        raise InputError(f"{name} is not JSON: {exc}" if data is not None else f"{name} is missing") from exc
    if not isinstance(found, dict):
        raise InputError(f"{name} is not a JSON object")
    return found


def _inflate(data: bytes, compressor: Any, name: str, size: int) -> bytes:
    """Decompress a chunk to at most `size` bytes."""
    import imagecodecs

    if compressor is None:
        return data
    kind = str(compressor.get("id")) if isinstance(compressor, dict) else ""
    windows = {"zlib": 15, "gzip": 31}
    codecs = {"zstd": imagecodecs.zstd_decode, "blosc": imagecodecs.blosc_decode}
    if kind not in windows and kind not in codecs:
        raise InputError(f"{name}: the compressor {compressor} is not supported; expected zlib, gzip, zstd or blosc")
    try:
        if kind in windows:
            return zlib.decompressobj(windows[kind]).decompress(data, size)
        return bytes(codecs[kind](data, out=size))
    except (zlib.error, RuntimeError, ValueError) as exc:
        raise InputError(f"{name}: a damaged chunk: {exc}") from exc
