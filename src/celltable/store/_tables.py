"""Read and write the tables of a store: Parquet settings, and row groups that never split an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from celltable import schema
from celltable.errors import StoreError

ROWS_PER_GROUP: Final = 4096  # cut at image boundaries, so that single images and single columns are both read fast
_DICTIONARY: Final = ["image_id", "kind", "class_name", "annotator", "dataset", "modality", "split", "rule", "severity"]
_STATISTICS: Final = ["image_id", "class_name", "area", "score", "rule"]


def read_table(path: str | Path, columns: list[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns, without pyarrow.dataset, whose import alone takes longer."""
    return pq.ParquetFile(path, memory_map=True).read(columns, use_threads=columns is None)


def conformed(table: pa.Table, name: str) -> pa.Table:
    """Bring a table of an earlier version to the current columns; new columns are null.

    Raises
    ------
    KeyError
        If a column that every version has is missing.
    """
    kind = schema.TABLES[name]
    if table.schema.names == kind.names:
        return table
    columns = [
        pa.nulls(table.num_rows, f.type)
        if f.nullable and f.name not in table.schema.names
        else table.column(f.name).cast(f.type)
        for f in kind
    ]
    return pa.Table.from_arrays(columns, schema=kind)


def classes_in(cells: pa.Table) -> tuple[str, ...]:
    """Return the classes of instance rows, sorted by name, including those of multi-class cells."""
    import pyarrow.compute as pc

    first = pc.unique(cells.column("class_name")).to_pylist()
    several = pc.unique(pc.list_flatten(cells.column("class_names"))).to_pylist()
    return tuple(sorted({*first, *several} - {None}))


def with_columns(table: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """Replace some columns of a table, keeping their types."""
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        made = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, field.type)
        table = table.set_column(at, field, made)
    return table


def write_table(path: Path, table: pa.Table) -> None:
    """Write one table as Parquet with the store's settings."""
    pq.write_table(table, path, **_parquet_options(table.schema))


def write_instances(path: Path, images: pa.Table, parts: Iterable[pa.Table]) -> None:
    """Write instances in row groups of about ROWS_PER_GROUP that never split an image.

    `images` gives the number of cells of each image in order; `parts` are instance tables in the same order, split
    anywhere.
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
    """Sort both tables by image (and cell), and recount n_instances.

    Raises
    ------
    StoreError
        If there are cells whose image does not exist.
    """
    import pyarrow.compute as pc

    images = images.sort_by("image_id")
    instances = instances.sort_by([("image_id", "ascending"), ("instance_id", "ascending")])
    counted = pc.value_counts(instances.column("image_id").combine_chunks()).to_pylist()
    counts = {row["values"]: row["counts"] for row in counted}
    ids = images.column("image_id").to_pylist()
    strangers = sorted(set(counts) - set(ids))
    if strangers:
        raise StoreError(
            f"cells refer to {len(strangers)} images that do not exist, the first '{strangers[0]}'; "
            "expected every image_id to be in images."
        )
    column = pa.array([counts.get(i, 0) for i in ids], pa.int32())
    at = images.schema.get_field_index("n_instances")
    images = images.set_column(at, schema.IMAGES.field("n_instances"), column)
    return images.select(schema.IMAGES.names).cast(schema.IMAGES), instances.select(schema.INSTANCES.names).cast(
        schema.INSTANCES
    )
