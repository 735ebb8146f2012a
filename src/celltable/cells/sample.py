"""One image with its cells, as yielded by readers and taken by writers, and edits of single cells."""

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
    """One image with its cells as published, yielded by readers and taken by writers.

    `load_pixels` returns the unchanged pixels as an array (row, column) or (row, column, channel); None if the sample
    has no pixels. `findings` are those of the reader about this image.
    """

    image: Image
    instances: Instances
    findings: tuple[Finding, ...] = ()
    load_pixels: Callable[[], NDArray[Any]] | None = None

    def pixels(self) -> NDArray[Any]:
        """Load the pixels: (row, column) or (row, column, channel), bit depth and channels as published."""
        if self.load_pixels is None:
            raise InputError(f"image {self.image.image_id} has no pixels: its reader gives no pixel file")
        return self.load_pixels()


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one cell, proposed by a repair and recorded in edits.parquet.

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
