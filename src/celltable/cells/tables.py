"""Convert records to rows of the images and findings tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields

import pyarrow as pa

from celltable import schema

from .finding import Finding
from .image import Image


def images_table(images: Iterable[tuple[Image, int]]) -> pa.Table:
    """Make rows of the images table from images and their numbers of instances."""
    return pa.Table.from_pylist([image.row(n) for image, n in images], schema=schema.IMAGES)


def findings_table(findings: Iterable[Finding]) -> pa.Table:
    """Make rows of the findings table."""
    rows = [{f.name: getattr(x, f.name) for f in fields(Finding)} for x in findings]
    return pa.Table.from_pylist(rows, schema=schema.FINDINGS)
