"""One image: its record, the locations of its pixels, and how its channels are combined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.errors import InputError


@dataclass(frozen=True, slots=True)
class Pixels:
    """Where pixels are: `member` of `source`; `index` is a row of an .npy or a page of a TIFF, `role` a channel name.

    `source` is the key of an archive of the release (``""`` for its folder); `channel` picks one channel of the file if
    only that one holds the data (None for all).
    """

    source: str
    member: str
    index: int | None = None
    role: str = ""
    channel: int | None = None


def compose(locations: Sequence[Pixels], read: Callable[[Pixels], NDArray[Any]]) -> NDArray[Any]:
    """Assemble an image from its files: read each, pick its channel, stack several along the last axis.

    Raises
    ------
    InputError
        If there are no files, or the channels differ in size or type.
    """
    planes = []
    for where in locations:
        plane = read(where)
        planes.append(plane if where.channel is None else plane[..., where.channel])
    if not planes:
        raise InputError("the image has no pixel file")
    if len(planes) == 1:
        return planes[0]
    layouts = {(p.shape, p.dtype.name) for p in planes}
    if len(layouts) > 1:
        each = "; ".join(f"{p.role or p.member} {a.shape} {a.dtype}" for p, a in zip(locations, planes, strict=True))
        raise InputError(f"the channels of one image differ: {each}; expected the same size and type")
    return np.stack(planes, axis=-1)


@dataclass(frozen=True, slots=True)
class Image:
    """One field of view: a row of images.parquet (see celltable.schema.IMAGES for units and meanings)."""

    image_id: str
    height: int
    width: int
    pixels: tuple[Pixels, ...] = ()
    dataset: str = ""
    channels: tuple[str, ...] = ()
    dtype: str | None = None
    modality: str | None = None
    image_class: str | None = None
    tissue: str | None = None
    cell_type: str | None = None
    split: str | None = None
    leakage_group: str | None = None
    group_source: str | None = None
    labels: tuple[str, ...] | None = None
    count: float | None = None
    magnification: float | None = None
    pixel_size_um: float | None = None
    annotated: bool = True
    exhaustive: bool = True
    ignore: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), rows first."""
        return self.height, self.width

    def row(self, n_instances: int) -> dict[str, Any]:
        """Return the image as a row of the images table."""
        row: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        row["pixels"] = [{f.name: getattr(p, f.name) for f in fields(Pixels)} for p in self.pixels]
        row["metadata"] = sorted(self.metadata.items())
        row["n_instances"] = n_instances
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Image:
        """Make the record from a row of the images table; the inverse of `row`."""
        values = {f.name: row[f.name] for f in fields(cls) if f.name in row}
        values["pixels"] = tuple(Pixels(**p) for p in row["pixels"] or ())
        values["channels"] = tuple(row["channels"] or ())
        values["labels"] = None if row["labels"] is None else tuple(row["labels"])
        values["metadata"] = dict(row["metadata"] or {})
        return cls(**values)
