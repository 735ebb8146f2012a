"""How the tables of a store are written: Parquet settings, row groups that never cut an image, dataset.json."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from celltable import schema
from celltable.errors import StoreError

ROWS_PER_GROUP: Final = 4096  # instances; cut at image boundaries: one image and one column are both read fast
_DICTIONARY: Final = ["image_id", "kind", "class_name", "annotator", "dataset", "modality", "split", "rule", "severity"]
_STATISTICS: Final = ["image_id", "class_name", "area", "score", "rule"]


def write_info(folder: Path, info: Mapping[str, Any]) -> None:
    """Write dataset.json, keys in the order given, the same bytes for the same content."""
    text = json.dumps({**info, "format": "celltable", "schema_version": schema.VERSION}, indent=1, ensure_ascii=False)
    (folder / "dataset.json").write_text(text + "\n", encoding="utf-8")


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A table, or some columns of it; pyarrow.dataset, whose import alone takes longer, is not needed."""
    return pq.ParquetFile(path, memory_map=True).read(columns, use_threads=columns is None)


def write_table(path: Path, table: pa.Table) -> None:
    """Write one table as Parquet with the store's settings."""
    pq.write_table(table, path, **_parquet_options(table.schema))


def write_instances(path: Path, images: pa.Table, parts: Iterable[pa.Table]) -> None:
    """Write instances in row groups of about ROWS_PER_GROUP that never cut an image.

    `images` gives the number of cells of each image in order; `parts` are instance tables in the same order, whose
    borders may lie anywhere.
    """
    counts = iter(images.column("n_instances").to_pylist())
    with pq.ParquetWriter(path, schema.INSTANCES, **_parquet_options(schema.INSTANCES)) as writer:
        pending: list[pa.Table] = []
        have, goal = 0, 0
        while goal < ROWS_PER_GROUP and (n := next(counts, None)) is not None:
            goal += n
        for part in parts:
            rest = part
            while have + rest.num_rows >= goal > 0:
                pending.append(rest.slice(0, goal - have))
                rest = rest.slice(goal - have)
                writer.write_table(pa.concat_tables(pending).combine_chunks(), row_group_size=goal)
                pending, have, goal = [], 0, 0
                while goal < ROWS_PER_GROUP and (n := next(counts, None)) is not None:
                    goal += n
            pending.append(rest)
            have += rest.num_rows


def _parquet_options(kind: pa.Schema) -> dict[str, Any]:
    names = set(kind.names)
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [c for c in _DICTIONARY if c in names],
        "write_statistics": [c for c in _STATISTICS if c in names],
        "store_schema": True,
    }


def aligned(images: pa.Table, instances: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Both tables sorted by image (and cell), and n_instances recounted."""
    import pyarrow.compute as pc

    images = images.sort_by("image_id")
    instances = instances.sort_by([("image_id", "ascending"), ("instance_id", "ascending")])
    counted = pc.value_counts(instances.column("image_id").combine_chunks()).to_pylist()
    counts = {row["values"]: row["counts"] for row in counted}
    ids = images.column("image_id").to_pylist()
    strangers = sorted(set(counts) - set(ids))
    if strangers:
        raise StoreError(
            f"cells of {len(strangers)} images that are not in images, the first '{strangers[0]}'; "
            "expected every image_id to be there."
        )
    column = pa.array([counts.get(i, 0) for i in ids], pa.int32())
    at = images.schema.get_field_index("n_instances")
    images = images.set_column(at, schema.IMAGES.field("n_instances"), column)
    return images.select(schema.IMAGES.names).cast(schema.IMAGES), instances.select(schema.INSTANCES.names).cast(
        schema.INSTANCES
    )
