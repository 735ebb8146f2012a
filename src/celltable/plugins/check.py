"""Checks, one kind of defect per file: a Sample (or a whole table) in, findings out; nothing is changed.

A module here holds one frozen ``CHECK`` whose name is its file's, in kebab-case, and stands in the column ``rule``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from celltable.cells import Finding, Sample, Severity

Scope = Literal["image", "dataset"]


@dataclass(frozen=True, slots=True)
class Check:
    """A kind of defect.

    Attributes
    ----------
    rule, title, description
        Name in kebab-case, a few words, and what it means, why it matters and what mends it.
    severity
        Of its findings, unless a finding says otherwise.
    needs_pixels
        Whether the image must be loaded.
    find
        scope "image": ``find(sample, **options)`` yields Findings of one image. scope "dataset":
        ``find(features, dataset, **options)`` yields Findings over all images, where `features` is the list of what
        `gather(sample)` returned for each image, in order (so that the pass over the images runs on any number of
        workers), and `dataset` is the store's description (dataset.json as a mapping).
    gather
        For scope "dataset": what to collect from one Sample; must be small and picklable.
    options
        Thresholds with their default, each with its reason in the file.
    repairs
        Names of the repairs that mend it.
    """

    rule: str
    title: str
    description: str
    find: Callable[..., Iterable[Finding]]
    severity: Severity = "warning"
    needs_pixels: bool = False
    scope: Scope = "image"
    gather: Callable[[Sample], Any] | None = None
    options: Mapping[str, float] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()
