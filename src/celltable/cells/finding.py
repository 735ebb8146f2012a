"""A defect of the data: what readers and checks report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect: a row of findings.parquet.

    `rule` is the check's kebab-case name, `value` the measured value, `instance_id` None for a defect of the image,
    `image_id` None for one of the whole release.
    """

    rule: str
    message: str
    severity: Severity = "warning"
    image_id: str | None = None
    instance_id: int | None = None
    value: float | None = None
