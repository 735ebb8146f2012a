"""Order the rows of a CSV like the images of another CSV, such as a sample submission."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from celltable.notation.text import open_text


def in_order_of(like: Path | str | None, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the text of each image's rows, in the given order or in that of the first column of `like`, others last.

    Parameters
    ----------
    rows
        (image id, text) of each image; kept in memory if `like` is given.

    Raises
    ------
    NotFoundError, InputError
        If `like` is missing or is not text.
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
