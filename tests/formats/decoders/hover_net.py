"""Decode what the format hover-net writes by its own rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from celltable.cells import Sample

from . import Maps


def decode(out: Path, samples: list[Sample]) -> Maps:
    types = json.loads((out / "type_info.json").read_text())
    maps = {}
    for path in (out / "Labels").glob("*.mat"):
        found = scipy.io.loadmat(path)
        maps[path.stem] = found["inst_map"]
        s = next(s for s in samples if s.image.image_id == path.stem)
        names = s.instances.column("class_name")
        for row, number in enumerate(n for n in np.unique(found["inst_map"]) if n):
            code = int(found["inst_type"][row, 0])
            assert types[str(code)][0] == names[int(number) - 1]
            assert set(np.unique(found["type_map"][found["inst_map"] == number])) == {code}
            y, x = np.nonzero(found["inst_map"] == number)
            assert found["inst_centroid"][row] == pytest.approx([x.mean(), y.mean()], abs=0.51)
    return maps
