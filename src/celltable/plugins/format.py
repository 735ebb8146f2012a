"""Annotation formats, one file each, both directions where both make sense, each conversion stating its loss.

A module here holds one frozen ``FORMAT``. Writers take Samples and return a ConversionReport; readers yield Samples.
Neither knows about stores or data sets.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celltable import plugins
from celltable.cells import Image, Sample
from celltable.errors import InputError

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
    "details",  # truncation, annotator, published areas and boxes of a cell
    "image-details",  # modality, tissue, split, labels, metadata, … of an image
)


@dataclass(slots=True)
class ConversionReport:
    """What a conversion could not keep: kind of loss → number of cells (or pixels, where the kind says so).

    `written` counts what was written; writers of a `figure` also say where each image went and which of its cells are
    not there (image id → instance ids).

    >>> report = ConversionReport(); report.add("overlap: pixels given to another cell", 3); print(report)
    overlap: pixels given to another cell: 3
    """

    items: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)  # what was written: files, images, cells
    parts: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[int]] = field(default_factory=dict)

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
        temporary name beside `out`, then a rename) and returns the ConversionReport. None where writing makes no sense.
    options
        Option name → what it does; what the command line passes through ``--option name=value``.
    extensions
        File endings by which `read` recognises it; empty for folders.
    figure
        The folder it writes comes with a figure of its statistics, which the export draws from the report's `parts`.
    """

    name: str
    title: str
    description: str
    keeps: frozenset[str]
    read: Callable[..., Iterator[Sample]] | None = None
    write: Callable[..., ConversionReport] | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()
    figure: bool = False


def matrix() -> list[dict[str, str]]:
    """What each format keeps, as rows for the documentation: format, title, reads, writes, then one column a feature.

    >>> [row["overlap"] for row in matrix() if row["format"] in ("coco", "label-tiff")]
    ['yes', '']
    """
    rows = []
    for name, plugin in plugins.load_all("formats").items():
        row = {"format": name, "title": plugin.title}
        row["reads"] = "yes" if plugin.read else ""
        row["writes"] = "yes" if plugin.write else ""
        row.update((feature, "yes" if feature in plugin.keeps else "") for feature in FEATURES)
        rows.append(row)
    return rows


def parse_options(function: Callable[..., Any], options: Mapping[str, str]) -> dict[str, Any]:
    """Turn ``name=value`` texts into keyword arguments of a reader or writer, by the types it declares.

    Raises
    ------
    InputError
        If there is no such option, or a value is not of its type.

    >>> def write(samples, out, *, size: int = 0, overwrite: bool = False): ...
    >>> parse_options(write, {"size": "512", "overwrite": "yes"})
    {'size': 512, 'overwrite': True}
    """
    known = {n: p for n, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}
    found: dict[str, Any] = {}
    for spelt, text in options.items():
        name = spelt.replace("-", "_")
        if name not in known:
            raise InputError(f"There is no option '{spelt}'. There are: {', '.join(known) or 'none'}.")
        found[name] = _convert(spelt, text, str(known[name].annotation))
    return found


def _convert(name: str, text: str, kind: str) -> Any:
    try:
        if kind == "bool":
            return {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}[text.lower()]
        if kind.startswith(("int", "float")):
            return int(text) if kind.startswith("int") else float(text)
    except (KeyError, ValueError):
        expected = "yes or no" if kind == "bool" else "a number"
        raise InputError(f"option {name} is '{text}'; expected {expected}") from None
    if kind.startswith(("tuple", "Sequence")):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return Path(text) if kind.startswith("Path") else text


Reader = Callable[[Path, Mapping[str, Image]], Iterator[Sample]]
Writer = Callable[[Iterable[Sample], Path, Any], ConversionReport]
