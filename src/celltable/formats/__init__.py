"""Annotation formats, one file each, both directions where both make sense, each conversion stating its loss.

A module here holds one frozen ``FORMAT``. Writers take Samples and return a Loss; readers yield Samples. Neither knows
about stores or data sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celltable.records import Image, Sample

# What a format may be able to hold; the docs' matrix has one column each.
FEATURES = (
    "overlap",  # two cells on the same pixel
    "holes",  # a hole inside a cell
    "components",  # several parts of one cell
    "ids",  # instance ids
    "classes",  # a class a cell
    "multi-class",  # several classes a cell
    "scores",  # confidences
    "crowd",  # crowd and ignore flags
    "kind",  # nucleus or cell, and parents
    "exact-mask",  # every pixel of the mask
    "polygons",  # published polygons, untouched
    "image-size",  # height and width of the image
    "empty-images",  # an image without cells
    "pixels",  # the image itself
)


@dataclass(slots=True)
class Loss:
    """What a conversion could not keep: kind of loss → number of cells (or pixels, where the kind says so).

    >>> loss = Loss(); loss.add("overlap: pixels given to another cell", 3); print(loss)
    overlap: pixels given to another cell: 3
    """

    items: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)  # what was written: files, images, cells

    def add(self, what: str, n: int = 1) -> None:
        """Count `n` losses of a kind (nothing for 0)."""
        if n:
            self.items[what] += n

    def __str__(self) -> str:
        return "\n".join(f"{what}: {n:,}" for what, n in sorted(self.items.items())) or "nothing was lost"


@dataclass(frozen=True, slots=True)
class Format:
    """An annotation format.

    Attributes
    ----------
    name, title, description
        The plug-in's name (kebab-case), the format's own name, and what it is in two sentences with its specification.
    keeps
        The FEATURES it holds.
    read
        ``read(path, images, **options)`` yields Samples; `images` maps image ids to known Images (sizes, pixels) for
        formats that name no size, and may be empty. None where reading makes no sense.
    write
        ``write(samples, out, **options)`` consumes an iterable of Samples once, streaming, writes atomically (a
        temporary name beside `out`, then a rename) and returns the Loss. None where writing makes no sense.
    options
        Option name → what it does; what the command line passes through ``--option name=value``.
    extensions
        File endings by which `read` recognises it; empty for folders.
    """

    name: str
    title: str
    description: str
    keeps: frozenset[str]
    read: Callable[..., Iterator[Sample]] | None = None
    write: Callable[..., Loss] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()


Reader = Callable[[Path, Mapping[str, Image]], Iterator[Sample]]
Writer = Callable[[Iterable[Sample], Path, Any], Loss]
