"""Decode what the format stardist writes by its own rules."""

from __future__ import annotations

from pathlib import Path

import tifffile

from celltable.cells import Sample

from . import Maps


def decode(out: Path, samples: list[Sample]) -> Maps:
    assert {p.name for p in (out / "images").iterdir()} == {p.name for p in (out / "masks").iterdir()}
    return {p.stem: tifffile.imread(p) for p in (out / "masks").iterdir()}
