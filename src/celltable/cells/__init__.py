"""The cells of one image, and the records that readers yield and writers take."""

from __future__ import annotations

from .records import (
    Edit,
    Finding,
    Image,
    Instances,
    Kind,
    Pixels,
    Sample,
    Severity,
    compose,
    findings_table,
    images_table,
    instances_table,
)

__all__ = [
    "Edit",
    "Finding",
    "Image",
    "Instances",
    "Kind",
    "Pixels",
    "Sample",
    "Severity",
    "compose",
    "findings_table",
    "images_table",
    "instances_table",
]
