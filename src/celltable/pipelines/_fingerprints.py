"""Compute perceptual hashes of the images of stores, for pipelines that compare images."""

from __future__ import annotations

from collections.abc import Sequence

from celltable import work
from celltable.cells import Finding
from celltable.errors import InputError, NotFoundError
from celltable.geometry.fingerprint import perceptual_hash
from celltable.store import Store


def fingerprints(
    entries: Sequence[tuple[Store, str]], names: Sequence[str], workers: int | None, progress: bool
) -> tuple[list[int], list[Finding]]:
    """Hash each image perceptually (0, similar to no image, if it cannot be read) and report unreadable images.

    `names` are the ids under which findings name the images.
    """

    def hashed(entry: tuple[Store, str]) -> int | str:
        try:
            return perceptual_hash(entry[0][entry[1]].pixels)
        except (InputError, NotFoundError) as exc:
            return str(exc)

    label = "comparing images" if progress else None
    found = list(work.map(hashed, entries, workers=workers, progress=label))
    trouble = [
        Finding("unreadable-image", f"not compared with other images: {value}", "warning", name)
        for name, value in zip(names, found, strict=True)
        if isinstance(value, str)
    ]
    return [0 if isinstance(value, str) else value for value in found], trouble
