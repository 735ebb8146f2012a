"""Decode what the format label-tiff writes by its own rules."""

from __future__ import annotations

from pathlib import Path

import tifffile

from celltable.cells import Sample

from . import Maps


def decode(out: Path, samples: list[Sample]) -> Maps:
    return {p.stem: tifffile.imread(p) for p in out.glob("*.tif")}
