"""Checks, one kind of defect per file: a Sample (or a whole table) in, findings out; nothing is changed.

A module of `celltable.checks` holds one frozen ``CHECK``. Its name is the file's in kebab-case and the rule of its
findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from celltable import rules
from celltable.cells import Finding, Sample, Severity
from celltable.errors import PluginError

from .contract import check_name, check_options
from .example import CheckExample
from .options import Option, settle

Scope = Literal["image", "dataset"]


@dataclass(frozen=True, slots=True)
class Check:
    """A check: one kind of defect, and the function that finds it.

    Attributes
    ----------
    rule, title, description
        Name in kebab-case; a title of a few words; what the defect is, why it matters and how to fix it.
    severity
        Severity of its findings, unless a finding says otherwise.
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
        Every keyword of `find`; each default has its reason in the file.
    repairs
        Names of the repairs that fix it.
    example
        ``example() -> CheckExample``: images with the defect and its places; the contract tests require one.
    """

    rule: str
    title: str
    description: str
    find: Callable[..., Iterable[Finding]]
    severity: Severity = "warning"
    needs_pixels: bool = False
    scope: Scope = "image"
    gather: Callable[[Sample], Any] | None = None
    options: tuple[Option, ...] = ()
    repairs: tuple[str, ...] = ()
    example: Callable[[], CheckExample] | None = None

    def __post_init__(self) -> None:
        owner = f"the check {self.rule}"
        check_name(owner, self.rule)
        check_options(owner, self.options, {"find": self.find}, given=1 if self.scope == "image" else 2)
        if (self.scope == "dataset") != (self.gather is not None):
            raise PluginError(
                f"{owner} has the scope '{self.scope}' and {'no' if self.gather is None else 'a'} gather(); "
                "expected gather() with the scope 'dataset', and only there."
            )
        rules.rule(self.rule, self.title, self.severity, self.description, emitter="check")

    def run(self, samples: Iterable[Sample], dataset: Mapping[str, Any] | None = None, **options: Any) -> list[Finding]:
        """Find the defect in samples outside any store; options not given have their defaults."""
        settled = settle(self.options, options, f"the check {self.rule}")
        if self.gather is None:
            return [finding for sample in samples for finding in self.find(sample, **settled)]
        return list(self.find([self.gather(sample) for sample in samples], dataset or {}, **settled))

    @property
    def name(self) -> str:
        """Name of the plug-in, which is also the rule of its findings."""
        return self.rule
