"""Helpers for checks of whole data sets: the place of an image, and how duplicates are reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from celltable.cells import Finding, Sample, Severity


class Place(NamedTuple):
    """The place of an image: its id, data set, split and leakage group."""

    image_id: str
    dataset: str
    split: str | None
    group: str | None


def place(sample: Sample) -> Place:
    """Return the place of a sample's image."""
    image = sample.image
    return Place(image.image_id, image.dataset, image.split, image.leakage_group)


def leaks(a: Place, b: Place) -> bool:
    """Return whether two duplicates are in different splits."""
    return a.split is not None and b.split is not None and a.split != b.split


def twin(rule: str, a: Place, b: Place, what: str, value: float, severity: Severity) -> Finding:
    """Report at image `b` that it duplicates image `a`; an error if they are in different splits."""
    where = f" of data set {a.dataset}" if a.dataset != b.dataset else ""
    text = f"{what} image {a.image_id}{where}"
    if leaks(a, b):
        return Finding(
            rule, f"{text}, which is in split {a.split}, this one in {b.split}", "error", b.image_id, None, value
        )
    return Finding(rule, text, severity, b.image_id, None, value)


def first_of_each(keys: Sequence[object]) -> list[tuple[int, int]]:
    """Pair positions of equal keys as (first, later), skipping None.

    >>> first_of_each(["a", "b", "a", None, "a"])
    [(0, 2), (0, 4)]
    """
    seen: dict[object, int] = {}
    pairs = []
    for i, key in enumerate(keys):
        if key is None:
            continue
        first = seen.setdefault(key, i)
        if first != i:
            pairs.append((first, i))
    return pairs
