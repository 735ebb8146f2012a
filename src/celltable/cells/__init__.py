"""The cells of one image, and the records that readers yield and writers take."""

from __future__ import annotations

from celltable.rules import Severity

from .finding import Finding
from .image import Image, Pixels, compose
from .instances import Instances, Kind, instances_table
from .sample import Edit, Sample
from .tables import findings_table, images_table

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
