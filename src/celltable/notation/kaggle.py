"""Read run-length rows of the 2018 Data Science Bowl (1-based runs down the columns) and check their rules."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError, MaskError
from celltable.geometry import rle
from celltable.rules import rule

from .text import open_text

rule(
    "rle-odd-count",
    "Run lengths that are not in pairs",
    "error",
    "An odd number of values; expected pairs of start and length. The row is left out.",
    emitter="import dsb-csv, ingest dsb2018",
)
rule(
    "rle-not-a-number",
    "Run lengths that are not numbers",
    "error",
    "A value is not a whole number. The row is left out.",
    emitter="import dsb-csv, ingest dsb2018",
)
rule(
    "rle-not-positive",
    "Run lengths below 1",
    "error",
    "Starts count from 1 and lengths are at least 1. The row is left out.",
    emitter="import dsb-csv, ingest dsb2018",
)
rule(
    "rle-unsorted",
    "Run lengths out of order",
    "error",
    "Starts must ascend. The row is left out.",
    emitter="import dsb-csv, ingest dsb2018",
)
rule(
    "rle-runs-overlap",
    "Run lengths that overlap",
    "error",
    "A run begins inside the one before. The row is left out.",
    emitter="import dsb-csv, ingest dsb2018",
)
rule(
    "rle-out-of-image",
    "Run lengths beyond the image",
    "error",
    "A run ends after the last pixel of the image. The row is left out.",
    emitter="import dsb-csv, ingest dsb2018",
)

Runs = NDArray[np.int64]


@dataclass(slots=True)
class Rows:
    """The rows of one image: their runs with line numbers, and the values of the size and usage columns."""

    runs: list[tuple[int, str]] = field(default_factory=list)
    size: tuple[int, int] | None = None
    usage: str = ""
    findings: list[Finding] = field(default_factory=list)


def kaggle_text(counts: bytes, size: tuple[int, int]) -> str:
    """Write the ``start length …`` text of a mask, faster than `celltable.geometry.rle.to_kaggle`."""
    starts, lengths = rle.to_runs(counts, size)
    numbers = np.empty(2 * len(starts), np.int64)
    numbers[::2], numbers[1::2] = starts + 1, lengths
    return msgspec.json.encode(numbers.tolist())[1:-1].decode().replace(",", " ")


def rows_by_image(path: Path) -> dict[str, Rows]:
    """Read the rows of a CSV by image id, in file order; runs are kept as text.

    Raises
    ------
    InputError
        If the columns are not those of the format.
    """
    with open_text(path) as stream:
        reader = csv.reader(stream)
        header = [name.strip() for name in next(reader, [])]
        if header[:2] != ["ImageId", "EncodedPixels"]:
            raise InputError(
                f"{path.name}: the first columns are {', '.join(header[:2]) or 'missing'}; expected ImageId, "
                "EncodedPixels (and Height, Width, Usage for a solution)"
            )
        found: dict[str, Rows] = {}
        try:
            for cells in reader:
                if cells:
                    _take(found, dict(zip(header, cells, strict=False)), reader.line_num)
        except csv.Error as exc:
            raise InputError(f"{path.name}, line {reader.line_num}: {exc}") from exc
    return found


def _take(found: dict[str, Rows], row: Mapping[str, str], line: int) -> None:
    image_id = row["ImageId"].strip()
    rows = found.setdefault(image_id, Rows())
    if "Height" in row and "Width" in row:
        try:
            size = int(row["Height"]), int(row["Width"])
        except ValueError:
            size = (0, 0)
        if min(size) < 1:
            message = (
                f"line {line}: Height and Width are '{row['Height']}', '{row['Width']}'; expected positive numbers"
            )
            rows.findings.append(Finding("invalid-size", message, "error", image_id))
        elif rows.size not in (None, size):
            message = f"line {line}: size {size[0]} × {size[1]} differs from {rows.size} of earlier rows"
            rows.findings.append(Finding("size-mismatch", message, "error", image_id))
        else:
            rows.size = size
    rows.usage = row.get("Usage", "").strip() or rows.usage
    rows.runs.append((line, row.get("EncodedPixels", "").strip()))


def sample_of(image_id: str, rows: Rows, known: Image | None) -> Sample:
    """Read the cells of one image; the known image, if any, gives its size and gets the usage that the rows state."""
    findings = list(rows.findings)
    size = known.size if known else rows.size
    if size is None:
        message = f"image {image_id} is in the CSV but not among the images; its {len(rows.runs):,} rows were left out"
        return Sample(
            Image(image_id, 0, 0), Instances.empty((0, 0)), (Finding("unknown-image", message, "error", image_id),)
        )
    if known and rows.size not in (None, size):
        message = (
            f"the CSV says {rows.size[0]} × {rows.size[1]}, the image is {size[0]} × {size[1]}" if rows.size else ""
        )
        findings.append(Finding("size-mismatch", message, "error", image_id))
    counts = []
    for line, text in rows.runs:
        if not text:
            if len(rows.runs) > 1:
                findings.append(
                    Finding("empty-mask", f"line {line}: no runs, but the image has others", image_id=image_id)
                )
            continue
        broken, message = broken_rule(text, size)
        if broken:
            findings.append(Finding(broken, f"line {line}: {message}", "error", image_id))
            continue
        try:
            counts.append(rle.from_kaggle(text, size))
        except MaskError as exc:
            findings.append(Finding("invalid-segmentation", f"line {line}: {exc}", "error", image_id))
    image = known or Image(image_id, *size)
    if rows.usage:
        image = replace(image, ignore=rows.usage == "Ignored", metadata={**image.metadata, "usage": rows.usage})
    cells = Instances.from_rle(counts, size, ignore=image.ignore)
    return Sample(image, cells, tuple(findings))


def broken_rule(text: str, size: Sequence[int]) -> tuple[str, str]:
    """Find the first rule of the format that the runs of one row break, and say how; empty strings if none.

    >>> broken_rule("1 3 10 5", (5, 4))
    ('', '')
    >>> broken_rule("1 3 3 5", (5, 4))
    ('rle-runs-overlap', 'the run at 3 begins inside the run before, which ends at 3')
    """
    tokens = text.split()
    if len(tokens) % 2:
        return "rle-odd-count", f"{len(tokens)} numbers; expected pairs of start and length"
    try:
        pairs = np.array(tokens, dtype=np.int64).reshape(-1, 2)
    except (ValueError, OverflowError):
        bad = next((t for t in tokens if not t.lstrip("+-").isdigit()), tokens[0])
        return "rle-not-a-number", f"'{bad[:20]}' is not a whole number; expected pairs of start and length"
    starts, lengths = pairs[:, 0], pairs[:, 1]
    if (pairs < 1).any():
        return "rle-not-positive", f"{int(pairs.min())} found; starts count from 1 and lengths are at least 1"
    return _broken_order(starts, lengths, int(size[0]) * int(size[1]))


def _broken_order(starts: Runs, lengths: Runs, n_pixels: int) -> tuple[str, str]:
    ends = starts + lengths - 1
    back = np.flatnonzero(np.diff(starts) <= 0)
    if back.size:
        k = int(back[0])
        order = "rle-unsorted" if starts[k + 1] < starts[k] else "rle-runs-overlap"
        return order, f"the run at {starts[k + 1]} follows the run at {starts[k]}; expected ascending starts"
    into = np.flatnonzero(starts[1:] <= ends[:-1])
    if into.size:
        k = int(into[0])
        return "rle-runs-overlap", f"the run at {starts[k + 1]} begins inside the run before, which ends at {ends[k]}"
    if ends[-1] > n_pixels or (ends < starts).any():
        return "rle-out-of-image", f"a run ends at pixel {ends.max()}; the image has {n_pixels:,}"
    return "", ""
