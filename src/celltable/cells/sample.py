"""One image with its cells, as readers yield and writers take it, and the change of one of its cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from celltable.errors import InputError

from .finding import Finding
from .image import Image
from .instances import Instances


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its cells, as published: what readers yield and writers take.

    `load_pixels` returns the pixels as an array (row, column) or (row, column, channel), untouched; None where a sample
    has no pixels. `findings` are what the reader noticed about this image.
    """

    image: Image
    instances: Instances
    findings: tuple[Finding, ...] = ()
    load_pixels: Callable[[], NDArray[Any]] | None = None

    def pixels(self) -> NDArray[Any]:
        """Load the pixels: (row, column) or (row, column, channel), bit depth and channels as published."""
        if self.load_pixels is None:
            raise InputError(f"image {self.image.image_id} has no pixels: its reader names no pixel file")
        return self.load_pixels()


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one cell: what a repair proposes and edits.parquet records.

    `before` is None for an added cell, `after` None for a removed one; both are Instances of length one.
    """

    repair: str
    image_id: str
    instance_id: int
    reason: str
    before: Instances | None
    after: Instances | None
    rule: str | None = None
    value: float | None = None

    @property
    def action(self) -> Literal["replace", "remove", "add"]:
        """replace, remove or add."""
        if self.before is None:
            return "add"
        return "remove" if self.after is None else "replace"
