"""A format: one JSON file with the run lengths of every cell."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError
from celltable.plugins import Option
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import tally
from celltable.plugins.peek import Peek

KEEPS = frozenset({"overlap", "holes", "components", "ids", "exact-mask", "image-size", "empty-images"})


def write(samples: Iterable[Sample], out: Path, *, indent: int = 0, overwrite: bool = False) -> ConversionReport:
    """Write all images to one file, under a temporary name until it is complete."""
    report = ConversionReport()
    images = []
    for sample in samples:
        cells = sample.instances
        rows = [{"id": int(i), "rle": rle.decode()} for i, rle in zip(cells.ids, map(bytes, cells.rle), strict=True)]
        image = sample.image
        images.append({"id": image.image_id, "size": [image.height, image.width], "cells": rows})
        tally(report, sample, KEEPS)
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already; give another name, or overwrite it.")
    partial = out.with_name(out.name + ".incomplete")
    partial.write_text(json.dumps({"petri": 1, "dishes": images}, indent=indent or None), encoding="utf-8")
    partial.replace(out)
    report.written["files"] += 1
    return report


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read such a file; known images keep their records."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        rows = sorted(document["dishes"], key=lambda row: row["id"])
    except (ValueError, KeyError, TypeError) as exc:
        raise InputError(f"{path} is not a petri file: {exc}; expected JSON with the keys petri and dishes.") from exc
    for row in rows:
        height, width = row["size"]
        image = (images or {}).get(row["id"]) or Image(row["id"], height, width)
        ids = np.asarray([cell["id"] for cell in row["cells"]], np.int32)
        rles = [cell["rle"].encode() for cell in row["cells"]]
        yield Sample(image, Instances.from_rle(rles, (height, width), instance_id=ids))


def recognise(peek: Peek) -> Recognition | None:
    """Recognise a JSON file that starts with the key petri."""
    if peek.is_file and peek.text(peek.names[0]).lstrip("{ \r\n\ufeff").startswith('"petri"'):
        return Recognition(Strength.SIGNATURE, "the key petri at its beginning")
    return None


FORMAT = Format(
    name="petri-json",
    title="Petri JSON",
    description="All images in one JSON file, each cell as COCO run lengths.",
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(Option("indent", 0, "blanks before each level of the file; 0 for one line", low=0, high=8),),
    extensions=(".json",),
)
