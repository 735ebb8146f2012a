"""The contract of a data set: a published release with its licence, citation, published counts, reader and example.

A module of `celltable.datasets` holds one frozen ``DATASET``. Two functions let any number of workers share the
work: ``scan`` quickly lists the images of an opened release in a fixed order, and ``load`` reads one of them with its
cells. A reader reads what was published and repairs nothing: every problem becomes a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from celltable import rules
from celltable.cells import Finding, Sample
from celltable.errors import PluginError
from celltable.imagefile import Release, open_release

from .contract import check_name

Access = Literal["free", "by hand", "login"]  # by hand: free, but without stable download addresses


@dataclass(frozen=True, slots=True)
class File:
    """One file to download: its address, and its size and SHA-256 if known; `mirrors` are tried in turn."""

    url: str
    name: str
    size: int | None = None
    sha256: str | None = None
    mirrors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """The images of a release, before any of them is read.

    Attributes
    ----------
    items
        One small work item per image, in the order of image ids; passed to `load` unchanged.
    findings
        Defects of the release as a whole.
    shared
        Anything that every load needs, such as a parsed CSV or JSON, read once.
    """

    items: Sequence[Any]
    findings: tuple[Finding, ...] = ()
    shared: Any = None


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of the example, and the rule under which each kind of damage to it is reported.

    The contract tests damage the file in each way. An empty rule means that this damage is not tested, because the
    release does not have such a file or nothing else says what the file should contain.

    Attributes
    ----------
    file
        Pattern of its path; the first match in name order is damaged.
    missing
        Rule if the file is deleted.
    unreadable
        Rule if it is empty or holds noise.
    truncated
        Rule if only its first half is left; by default the rule of `unreadable`.
    smaller
        Rule if three rows of its pixels are cut off.
    """

    file: str
    missing: str
    unreadable: str
    truncated: str = ""
    smaller: str = "size-mismatch"

    def rules(self) -> dict[str, str]:
        """Map each kind of damage that is tested to its rule, or to `STOPS` if reading ends with an error."""
        made = {
            "missing": self.missing,
            "empty": self.unreadable,
            "truncated": self.truncated or self.unreadable,
            "noise": self.unreadable,
            "smaller": self.smaller,
        }
        return {damage: rule for damage, rule in made.items() if rule}


STOPS: Final = "stops"  # in place of a rule: reading the release ends with an error that names the file


@dataclass(frozen=True, slots=True)
class Dataset:
    """A published release.

    Attributes
    ----------
    name, title, description
        The plug-in's name, the release's own title, and two sentences on its content.
    licence, non_commercial, redistribute, citation, doi, source, access, how_to_get
        Terms and origin. `how_to_get` says step by step what to do if a login is needed.
    modality, target, classes, tissues
        What was imaged and what was annotated; `target` is nucleus, cell or both.
    counts
        Published counts: (part, "images" | "instances") → number. A difference becomes a finding, never an error.
    parts
        Names that `read(parts=...)` accepts; empty if there is only one part.
    default_parts
        The parts read by default, for releases whose other parts repeat some of the images; all parts if empty.
    alternative_parts
        Whether parts are versions of the same images rather than subsets of the images.
    group
        What forms a leakage group, such as the patient.
    files
        What `celltable get` downloads.
    protocols
        Names of the official metrics.
    splits
        Official splits besides the published one: name → (published split → part), for example PanNuke's rotations.
    scan, load, example
        ``scan(release, parts) -> Scan``; ``load(release, shared, item) -> Sample``; ``example(folder, seed) -> Path``
        writes a tiny synthetic release in exactly the published layout, quirks included, and returns what to ingest.
    expected_findings
        Exactly the rules that reading (not checking) the example reports, so that each known defect of the release
        has its finding.
    damages
        Files of the example and the rules that report damage to them; at least one image and one annotation file.
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
    default_parts: tuple[str, ...] = ()
    alternative_parts: bool = False
    files: tuple[File, ...] = ()
    protocols: tuple[str, ...] = ()
    splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    expected_findings: tuple[str, ...] = ()
    damages: tuple[Damage, ...] = ()

    def __post_init__(self) -> None:
        owner = f"the data set {self.name}"
        check_name(owner, self.name, "_")
        if unknown := set(self.default_parts) - set(self.parts):
            raise PluginError(f"{owner}: {', '.join(sorted(unknown))} in default_parts is not in parts.")
        for rule in (*self.expected_findings, *(r for d in self.damages for r in d.rules().values() if r != STOPS)):
            rules.known(rule)

    def read(self, path: str | Path, parts: Sequence[str] = ()) -> Iterator[Sample]:
        """Read a release as published, one image at a time, from a folder or an archive."""
        with open_release(path) as release:
            scan = self.scan(release, tuple(parts))
            for item in scan.items:
                yield self.load(release, scan.shared, item)
