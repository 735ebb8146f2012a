"""Hugging Face data set: one Parquet file that includes the images, for `datasets` and the Hub's viewer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError, NotFoundError
from celltable.imagefile import read_pixels
from celltable.notation.coco import decode_text, extra_keys, image_of
from celltable.notation.names import to_name
from celltable.notation.polygons import pack, parts_of
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import tally
from celltable.plugins.peek import Peek
from celltable.rules import rule

from ._out import new_file
from ._pixels import encode

rule(
    "invalid-details",
    "Details that are not JSON",
    "warning",
    "The details column of an image is not valid JSON; it is left out.",
    emitter="import hf-parquet",
)

KEEPS: Final = frozenset(
    {
        *("overlap", "holes", "components", "ids", "classes", "multi-class", "scores", "crowd", "kind", "exact-mask"),
        *("polygons", "image-size", "empty-images", "pixels", "details", "image-details"),
    }
)
GROUP_BYTES: Final = 32 << 20  # size of a row group; the viewer reads whole row groups

CELL: Final = pa.struct(
    [
        ("id", pa.int32()),
        ("kind", pa.string()),
        ("class_name", pa.string()),
        ("bbox", pa.list_(pa.int32())),
        ("area", pa.int64()),
        ("rle", pa.string()),
        ("score", pa.float64()),
        ("crowd", pa.bool_()),
        ("ignore", pa.bool_()),
        ("truncated", pa.bool_()),
        ("parent", pa.int32()),
        ("class_names", pa.list_(pa.string())),
        ("class_scores", pa.list_(pa.float64())),
        ("polygon", pa.list_(pa.list_(pa.float64()))),
        ("published_area", pa.float64()),
        ("published_bbox", pa.list_(pa.float64())),
        ("annotator", pa.string()),
        ("source_id", pa.string()),
    ]
)
SCHEMA: Final = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("image_id", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("n_cells", pa.int32()),
        ("details", pa.string()),
        ("cells", pa.list_(CELL)),
    ]
)
_COLUMNS: Final = (
    *("kind", "class_name", "score", "crowd", "ignore", "truncated", "parent", "class_names", "class_scores"),
    *("published_area", "published_bbox", "annotator", "source_id"),
)


def write(samples: Iterable[Sample], out: Path, *, overwrite: bool = False) -> ConversionReport:
    """Write one row per image: its bytes, its size and its cells (COCO run lengths) as a list."""
    import pyarrow.parquet as pq

    report = ConversionReport()
    schema = SCHEMA.with_metadata({"huggingface": json.dumps({"info": {"features": features()}})})
    with new_file(out, overwrite) as path, pq.ParquetWriter(path, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for sample in samples:
            tally(report, sample, KEEPS)
            rows.append(_row(sample))
            size += len((rows[-1]["image"] or {}).get("bytes", b"")) + 200 * len(sample.instances)
            if size >= GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows, size = [], 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))
    report.written["files"] = 1
    return report


def features() -> dict[str, Any]:
    """Describe the columns as features of the `datasets` library."""
    found = {f.name: _feature(f.type) for f in SCHEMA}
    found["image"] = {"_type": "Image"}
    return found


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_struct(kind):
        return {f.name: _feature(f.type) for f in kind}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]  # understood by every version; newer ones write List
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def _row(sample: Sample) -> dict[str, Any]:
    image, cells = sample.image, sample.instances
    picture = None
    if sample.load_pixels is not None:
        data, ending = encode(sample.pixels())
        picture = {"bytes": data, "path": to_name(image.image_id) + ending}
    columns = {name: cells.column(name) for name in _COLUMNS}
    columns["id"], columns["area"] = cells.ids.tolist(), np.asarray(cells.area).tolist()
    columns["bbox"] = np.asarray(cells.bbox).reshape(-1, 4).tolist()
    columns["rle"] = [c.decode("ascii") for c in cells.rle]
    columns["polygon"] = [None if p is None else parts_of(p) for p in cells.column("polygon")]
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    details = json.dumps(_details(image), sort_keys=True)
    found = {"image": picture, "image_id": image.image_id, "height": image.height, "width": image.width}
    return {**found, "n_cells": len(cells), "details": details, "cells": rows}


def _details(image: Image) -> dict[str, Any]:
    found, said = extra_keys(image), image.metadata
    if "coco_id" in said:
        found["id"] = decode_text(said["coco_id"])
    return found | ({"file_name": said["file_name"]} if "file_name" in said else {})


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read a file a few images at a time."""
    import pyarrow.parquet as pq

    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist.")
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as exc:
        raise InputError(f"{path.name} is not a Parquet file: {exc}") from exc
    with file:
        missing = set(SCHEMA.names) - set(file.schema_arrow.names)
        if missing:
            raise InputError(f"{path.name} lacks the columns {', '.join(sorted(missing))}; it is in another format")
        for batch in file.iter_batches(batch_size=8):
            for row in batch.to_pylist():
                yield _sample(row, images or {})


def _sample(row: Mapping[str, Any], known: Mapping[str, Image]) -> Sample:
    findings: list[Finding] = []
    image_id, size = row["image_id"], (row["height"], row["width"])
    try:
        record = json.loads(row["details"] or "{}")
    except ValueError:
        findings.append(Finding("invalid-details", "details is not JSON; left out", "warning", image_id))
        record = {}
    image = known.get(image_id) or image_of(record, image_id, size)
    cells = row["cells"] or []
    columns: dict[str, Any] = {n: [c[n] for c in cells] for n in _COLUMNS}
    columns = {n: v for n, v in columns.items() if any(x is not None for x in v)}
    polygons = [None if c["polygon"] is None else pack(c["polygon"]) for c in cells]
    if any(p is not None for p in polygons):
        columns["polygon"] = polygons
    instances = Instances.from_rle(
        [c["rle"].encode("ascii") for c in cells],
        size,
        instance_id=np.array([c["id"] for c in cells], np.int32),
        **columns,
    )
    data = (row["image"] or {}).get("bytes")
    load = None if data is None else lambda: read_pixels(data, row["image"]["path"] or image_id)
    return Sample(image, instances, tuple(findings), load)


def recognise(peek: Peek) -> Recognition | None:
    """Recognise a Parquet file with the columns of this format."""
    if not peek.is_file or peek.head(peek.path.name, 4) != b"PAR1":
        return None
    import pyarrow.parquet as pq

    try:
        columns = set(pq.read_schema(peek.path).names)
    except (pa.ArrowInvalid, OSError):
        return None
    if set(SCHEMA.names) <= columns:
        return Recognition(Strength.SIGNATURE, "a Parquet file with the columns image, image_id and cells")
    return None


FORMAT = Format(
    name="hf-parquet",
    title="Hugging Face data set (Parquet)",
    description=(
        "One Parquet file whose schema marks the column image as pictures, so that `datasets` loads it and the "
        "Hub's viewer shows it (https://huggingface.co/docs/datasets). Each row has a list of cells; masks are COCO "
        "run lengths."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    extensions=(".parquet",),
)
