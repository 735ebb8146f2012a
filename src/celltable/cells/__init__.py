"""The cells of one image, and the records that readers yield and writers take."""

from __future__ import annotations

from celltable.rules import Severity

from .columns import Columns, Kind
from .finding import Finding
from .image import Image, Pixels, compose
from .instances import Instances, instances_table
from .rows import Rows
from .sample import Edit, Sample
from .tables import findings_table, images_table

__all__ = [
    "Columns",
    "Edit",
    "Finding",
    "Image",
    "Instances",
    "Kind",
    "Pixels",
    "Rows",
    "Sample",
    "Severity",
    "compose",
    "findings_table",
    "images_table",
    "instances_table",
]
