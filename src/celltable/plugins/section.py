"""The report: one self-contained HTML page, one plot or table per file.

A module here holds one frozen ``SECTION``; sections are put together in their `order` and need no network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celltable.cells import Sample


@dataclass(frozen=True, slots=True)
class Material:
    """What a report is made of, gathered once by the pipeline.

    Attributes
    ----------
    summaries
        ``pipelines.show.summary`` of each store, the reported one first.
    images, instances, findings
        Arrow tables of the reported store (instances without masks).
    others
        (name, images, instances) of further stores shown side by side.
    sample, predicted
        Fetch one image of the store, or of the predictions, as a Sample.
    other_samples
        The same for each of `others`.
    scores
        Rows of the scores table for the predictions, or an empty list.
    score_notes
        What a reader must know about the scores: which images, and which scores are not shown.
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
    """One plot or table: `render` returns its HTML, or "" where it has nothing to show."""

    name: str
    title: str
    order: int
    render: Callable[[Material], str]
