"""Repairs, one per file: a Sample in, edits out; the release is never modified and every edit can be undone.

A module here holds one frozen ``REPAIR`` whose name is its file's, in kebab-case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from celltable.cells import Edit


@dataclass(frozen=True, slots=True)
class Repair:
    """A way to mend annotations.

    Attributes
    ----------
    name, title, description
        Name in kebab-case, a few words, and what it does to which cells.
    mends
        The rules (checks) it mends.
    propose
        ``propose(sample, **options)`` yields Edits. A cell may be touched by one edit only; a split removes the cell
        and adds its parts under new instance ids.
    default
        Whether ``celltable repair`` applies it when no rules are named: only repairs that cannot lose a true cell.
    options
        Thresholds and policies with their default.
    needs_pixels
        Whether the image must be loaded.
    """

    name: str
    title: str
    description: str
    mends: tuple[str, ...]
    propose: Callable[..., Iterable[Edit]]
    default: bool = False
    options: Mapping[str, float | str] = field(default_factory=dict)
    needs_pixels: bool = False
