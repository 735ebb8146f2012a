"""Copy pixel files into a store, so that it no longer needs the release."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np

from celltable.cells import Pixels
from celltable.disk import write_whole
from celltable.imagefile import Release


def copied(release: Release, dataset: str, pixels: tuple[Pixels, ...], extra: Path) -> tuple[Pixels, ...]:
    """Copy the files of one image under ``pixels/`` of the store and return where they are now.

    A whole file is copied byte for byte; from an array of many images, only the row used, as .npy of the same type.
    """
    return tuple(_one(release, dataset, where, extra) for where in pixels)


def _one(release: Release, dataset: str, where: Pixels, extra: Path) -> Pixels:
    source = f"{where.source}/" if where.source else ""
    name = PurePosixPath("pixels", dataset, _safe(f"{source}{where.member}"))
    entry = release.entry(where.source, where.member)
    if where.index is None or not where.member.lower().endswith(".npy"):
        _write(extra, name, release.read(entry))
        return replace(where, source="", member=str(name))
    row = name.with_name(f"{name.stem}_{where.index:06d}.npy")
    out = io.BytesIO()
    np.save(out, release.memmap(entry)[where.index], allow_pickle=False)
    _write(extra, row, out.getvalue())
    return replace(where, source="", member=str(row), index=None)


def _safe(member: str) -> str:
    """Return the member's path if every file system can hold it, else a digest with its suffix."""
    plain = all(part not in ("", ".", "..") and len(part.encode()) < 200 for part in member.split("/"))
    return member if plain else hashlib.sha256(member.encode()).hexdigest() + PurePosixPath(member).suffix


def _write(extra: Path, name: PurePosixPath, data: bytes) -> None:
    target = extra / name
    if not target.exists():
        write_whole(target, data, extra.parent)
