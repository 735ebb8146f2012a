"""The contract of a metric, one published protocol per file: count each image, then pool the counts into a score.

A module of `celltable.metrics` holds one frozen ``METRIC``, found by its file name. Its two functions let any number of
workers share the work: ``count`` takes one `Pair` and returns small picklable numbers, ``pool`` turns the numbers of
all images into a `Result`. Whatever metrics read from a pair (areas, sparse overlaps, matches, centroids) is computed
once and shared.

Two modes: *strict* reproduces the official code bit for bit, its quirks included, and raises `MetricError` where that
code raises; *corrected* (the default) differs only where the card says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .contract import check_name, check_options
from .options import Option, defaults

Mode = Literal["strict", "corrected"]
MODES: tuple[Mode, ...] = ("strict", "corrected")


@dataclass(frozen=True, slots=True)
class Card:
    """The protocol of a metric in words: what its numbers mean.

    Attributes
    ----------
    title, quantity, authority
        The name to print, the quantity measured, and whose definition it is.
    citation, doi, url
        The paper, and the code that is reproduced.
    formula, matching, ties, averaging, empty
        How objects are matched, what happens exactly at the threshold, how images are averaged, and how an image
        without cells counts.
    flattening
        How overlapping masks within one side are treated.
    regions, partial
        How crowd, ambiguous and ignore regions, and partially annotated images, are treated.
    thresholds
        The thresholds, in words or numbers.
    strict
        Quirks and errors of the official code, which strict mode reproduces and corrected mode does not.
    namesakes
        Metrics with similar names, and how they differ.
    unit
        Unit of the headline number if it is not a plain ratio: "percent", "cells".
    skipped
        Filled in by a run: what was left out, with counts.
    """

    title: str
    quantity: str
    authority: str
    citation: str
    formula: str
    matching: str
    ties: str
    averaging: str
    empty: str
    strict: str = "no difference"
    doi: str = ""
    url: str = ""
    thresholds: str = ""
    flattening: str = "overlapping masks are painted into one label map, later ids over earlier ones"
    regions: str = (
        "corrected: cells marked ignore or crowd are removed from the ground truth, and predictions of which half "
        "or more is on them are not counted; strict: they are ordinary cells, as the official code has no such mark"
    )
    partial: str = "partially annotated images are left out (their false positives are unknown) unless asked for"
    namesakes: str = ""
    unit: str = ""
    skipped: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the card's non-empty entries by name."""
        entries = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: dict(v) if isinstance(v, Mapping) else v for name, v in entries.items() if v}


@dataclass(frozen=True, slots=True)
class Result:
    """A pooled score: the headline `value`, and all numbers in `fields` under the names that the reference uses.

    `skipped` counts what pooling left out, by reason ("image without cells": 3).
    """

    value: float
    fields: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """A published protocol.

    Attributes
    ----------
    name
        Quantity and authority, the same as the file's name: ``ap_dsb2018``.
    count
        ``count(pair, mode, **options)`` → picklable numbers of one image (an array or a small tuple or dict of them).
    pool
        ``pool(numbers, mode, **options)`` → Result; `numbers` is a list with one entry per image, in the natural order
        of image ids.
    needs
        What a pair must have: any of "scores" (confidences of predictions), "classes" (on both sides), "tissue" (in
        meta) and "pixels". A metric whose needs are not met says so instead of running.
    options
        Every option of its functions; each function takes all of them.
    handles
        "partial" if partially annotated images are fine, because the metric does not count false positives; all other
        metrics leave them out.
    value_of
        ``value_of(numbers, mode, **options)`` → one image's headline value, for per-image tables; by default
        ``pool([numbers]).value``.
    resample
        ``resample(numbers, weights, mode, **options)`` → float64 (B,): the pooled value when image i counts weights[b,
        i] times (int, (B, n)). Without it the bootstrap calls `pool` on repeated lists.
    better
        Which values are better: "higher", "lower" or "zero" (for a bias); used to compare models.
    heavy
        Whether to leave it out of ``"all"``, so that it must be requested by name.
    """

    name: str
    card: Card
    count: Callable[..., Any]
    pool: Callable[..., Result]
    needs: frozenset[str] = frozenset()
    options: tuple[Option, ...] = ()
    handles: frozenset[str] = frozenset()
    value_of: Callable[..., float] | None = None
    resample: Callable[..., NDArray[np.float64]] | None = None
    better: Literal["higher", "lower", "zero"] = "higher"
    heavy: bool = False

    def __post_init__(self) -> None:
        owner = f"the metric {self.name}"
        check_name(owner, self.name, "_")
        check_options(owner, self.options, {"count": self.count, "pool": self.pool, "value_of": self.value_of}, given=2)
        check_options(owner, self.options, {"resample": self.resample}, given=3)

    @property
    def defaults(self) -> dict[str, Any]:
        """Option name → default."""
        return defaults(self.options)

    def one(self, numbers: Any, mode: Mode, **options: Any) -> float:
        """Compute the headline value of one image."""
        if self.value_of is not None:
            return float(self.value_of(numbers, mode, **options))
        return float(self.pool([numbers], mode, **options).value)
