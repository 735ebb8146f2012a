"""Views of a store: its tables, and single images whose cells and pixels are loaded on access."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from celltable.cells import Image, Instances, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ._opened import Opened


class Table:
    """An Arrow table (every attribute of pyarrow.Table works) with `to_polars` beside `to_pandas`."""

    __slots__ = ("arrow",)

    def __init__(self, arrow: pa.Table) -> None:
        self.arrow = arrow

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arrow, name)

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __getitem__(self, key: Any) -> Any:
        return self.arrow[key]

    def __repr__(self) -> str:
        return repr(self.arrow)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.arrow.__arrow_c_stream__(requested_schema)

    def to_polars(self) -> Any:
        """Convert the table to a polars.DataFrame (polars must be installed)."""
        import polars as pl

        return pl.from_arrow(self.arrow)


class ImageView:
    """One image of a store: its record, cells and pixels, each loaded on access."""

    __slots__ = ("_record", "_store", "image_id")

    def __init__(self, store: Opened, image_id: str) -> None:
        self._store, self.image_id = store, image_id
        self._record: Image | None = None

    @property
    def image(self) -> Image:
        """The record of the image."""
        if self._record is None:
            self._record = self._store.image(self.image_id)
        return self._record

    @property
    def instances(self) -> Instances:
        """The cells as columns."""
        return self._store.instances_of(self.image_id)

    @property
    def pixels(self) -> NDArray[Any]:
        """Pixels as published: (row, column) or (row, column, channel)."""
        return self._store.pixels_of(self.image)

    @property
    def label_map(self) -> NDArray[np.int32]:
        """Label map of instance ids, later cells over earlier ones; `instances.label_map(policy)` reports the loss."""
        flat: NDArray[np.int32] = self.instances.label_map().label_map
        return flat

    @property
    def masks(self) -> list[NDArray[np.bool_]]:
        """One full-size boolean mask per cell, overlaps kept."""
        return self.instances.masks()

    @property
    def sample(self) -> Sample:
        """Convert the image to a Sample, for checks, repairs, formats and models."""
        image = self.image
        return Sample(
            image, self.instances, load_pixels=partial(self._store.pixels_of, image) if image.pixels else None
        )

    def __repr__(self) -> str:
        image = self.image
        return f"<image {image.image_id}: {image.height} × {image.width}, {len(self.instances)} cells>"
