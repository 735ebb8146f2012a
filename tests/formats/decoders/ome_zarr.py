"""Decode what the format ome-zarr writes by its own rules."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np

from celltable.cells import Sample

from . import Maps


def decode(out: Path, samples: list[Sample]) -> Maps:
    maps = {}
    for folder in out.glob("*.ome.zarr"):
        array = folder / "labels" / "cells" / "0"
        meta = json.loads((array / ".zarray").read_text())
        whole = np.zeros([-(-n // c) * c for n, c in zip(meta["shape"], meta["chunks"], strict=True)], meta["dtype"])
        rows, columns = meta["chunks"]
        for chunk in array.glob("[0-9]*/[0-9]*"):
            i, j = int(chunk.parent.name), int(chunk.name)
            values = np.frombuffer(zlib.decompress(chunk.read_bytes()), meta["dtype"]).reshape(rows, columns)
            whole[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns] = values
        maps[folder.name.removesuffix(".ome.zarr")] = whole[: meta["shape"][0], : meta["shape"][1]]
    return maps
