"""Published releases, one file each: what it is, its licence and citation, its published counts, a reader, an example.

A module here holds one frozen ``DATASET``. Its two functions split the work so that it runs on any number of workers:
``scan`` lists the images of an opened release cheaply and in a fixed order, ``load`` reads one of them with its cells.
A reader reads what was published and repairs nothing: what is wrong becomes a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from celltable.cells import Finding, Sample
from celltable.imagefile import Release, open_release

Access = Literal["free", "by hand", "login"]  # by hand: free, but no file has a stable address


@dataclass(frozen=True, slots=True)
class File:
    """One file to download: its address, and size and SHA-256 where they are known; `mirrors` are tried in turn."""

    url: str
    name: str
    size: int | None = None
    sha256: str | None = None
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """What `scan` found: one work item an image, in the order of image ids, and findings about the release as a whole.

    Items are passed to `load` unchanged; they must be small. `shared` is anything that all loads need (a parsed CSV or
    JSON), read once.
    """

    items: Sequence[Any]
    findings: tuple[Finding, ...] = ()
    shared: Any = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A published release.

    Attributes
    ----------
    name, title, description
        The plug-in's name, the release's own title, and two sentences on what is in it.
    licence, non_commercial, redistribute, citation, doi, source, access, how_to_get
        Terms and origin. `how_to_get` says step by step what to do where a login is needed.
    modality, target, classes, tissues
        What was imaged and what was annotated; `target` is nucleus, cell or both.
    counts
        Published counts: (part, "images" | "instances") → number. A difference becomes a finding, never an error.
    parts
        Names that `read(parts=...)` accepts; empty where there is only one.
    group
        What the leakage group is.
    files
        What `celltable get` downloads.
    protocols
        Names of the official metrics.
    splits
        Official splits beyond the published one: name → (published split → part), for example PanNuke's rotations.
    scan, load, example
        ``scan(release, parts) -> Scan``; ``load(release, shared, item) -> Sample``; ``example(folder, seed) -> Path``
        writes a tiny synthetic release in exactly the published layout, quirks included, and returns what to ingest.
    expected_findings
        The rules that reading (not checking) the example must raise, so that each known defect has its finding.
    """

    name: str
    title: str
    description: str
    licence: str
    citation: str
    source: str
    modality: tuple[str, ...]
    target: tuple[str, ...]
    group: str
    scan: Callable[[Release, tuple[str, ...]], Scan]
    load: Callable[[Release, Any, Any], Sample]
    example: Callable[[Path, int], Path]
    layout: str = ""
    doi: str = ""
    access: Access = "free"
    how_to_get: str = ""
    non_commercial: bool = False
    redistribute: bool = True
    classes: tuple[str, ...] = ()
    tissues: tuple[str, ...] = ()
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    protocols: tuple[str, ...] = ()
    splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    expected_findings: tuple[str, ...] = ()

    def read(self, path: str | Path, parts: Sequence[str] = ()) -> Iterator[Sample]:
        """Read a release as published, image after image, from a folder or an archive."""
        with open_release(path) as release:
            found = self.scan(release, tuple(parts))
            for item in found.items:
                yield self.load(release, found.shared, item)
