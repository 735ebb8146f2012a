"""The contract of a report section: one plot or table of the self-contained HTML page, one per file.

A module of `celltable.reports` holds one frozen ``SECTION``; sections appear in their `order` and need no network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celltable.cells import Sample


@dataclass(frozen=True, slots=True)
class Material:
    """The material of a report, gathered once by the pipeline.

    Attributes
    ----------
    summaries
        ``pipelines.show.summary`` of each store, the reported one first.
    images, instances, findings
        Arrow tables of the reported store (instances without masks).
    others
        (name, images, instances) of other stores shown side by side.
    sample, predicted
        Fetch one image of the store, or of the predictions, as a Sample.
    other_samples
        The same for each of `others`.
    scores
        Rows of the scores table for the predictions, or an empty list.
    score_notes
        Remarks on the scores: which images they cover, and which scores are not shown.
    headline
        The metric whose per-image values rank best and worst images, or None.
    """

    summaries: list[dict[str, Any]]
    images: Any
    instances: Any
    findings: Any
    sample: Callable[[str], Sample]
    others: list[tuple[str, Any, Any]] = field(default_factory=list)
    other_samples: list[Callable[[str], Sample]] = field(default_factory=list)
    predicted: Callable[[str], Sample | None] | None = None
    scores: list[dict[str, Any]] = field(default_factory=list)
    cards: dict[str, Any] = field(default_factory=dict)
    score_notes: list[str] = field(default_factory=list)
    headline: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """One plot or table: `render` returns its HTML, or "" if there is nothing to show."""

    name: str
    title: str
    order: int
    render: Callable[[Material], str]
