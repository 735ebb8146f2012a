"""Findings: defects of the data that readers and checks report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from celltable.rules import Severity, severity_of

_OF_ITS_RULE: Final[Severity] = cast("Severity", "")


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect: a row of findings.parquet.

    Attributes
    ----------
    rule
        Name of a declared rule (`celltable.rules`), in kebab-case.
    message
        What was found, where, and how it was handled.
    severity
        error, warning or note; by default that of the rule.
    image_id, instance_id
        None for a defect of the whole release or of the whole image, respectively.
    value
        The measured value, in the unit that the rule states.

    Raises
    ------
    RuleError
        If no loaded module declares the rule.
    """

    rule: str
    message: str
    severity: Severity = _OF_ITS_RULE
    image_id: str | None = None
    instance_id: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        usual = severity_of(self.rule)
        if self.severity == _OF_ITS_RULE:
            object.__setattr__(self, "severity", usual)
