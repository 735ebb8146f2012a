"""Rows of a CSV in the order in which another CSV names its images, as a sample submission does."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from celltable.notation.text import open_text


def in_order_of(like: Path | str | None, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The text of each image's rows: as it comes, or in the order of the first column of `like`, the others last.

    Parameters
    ----------
    rows
        (image id, text) of each image; held in memory where there is an order to keep.

    Raises
    ------
    NotFoundError, InputError
        If `like` is missing or no text.
    """
    if like is None:
        yield from (text for _, text in rows)
        return
    with open_text(Path(like)) as stream:
        csv.field_size_limit(1 << 30)
        reader = csv.reader(stream)
        next(reader, None)
        named = dict.fromkeys(cells[0].strip() for cells in reader if cells)
    place = {image_id: k for k, image_id in enumerate(named)}
    yield from (text for _, text in sorted(rows, key=lambda row: place.get(row[0], len(place))))
