"""``celltable query``: SQL over the tables of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from ._output import Json, StoreArgument, emit_json, note, say, table


def query(
    store: StoreArgument,
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="DuckDB SQL over images, instances, findings, edits, scores.")
    ],
    limit: Annotated[int, typer.Option("--limit", help="Rows to print; 0 prints all.")] = 100,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: Json = False,
) -> None:
    """Ask the tables in SQL.

    Example: celltable query dsb.celltable "select modality, count(*) from instances join images using (image_id) group
    by 1"
    """
    from celltable.store import open_store

    found = open_store(store).query(sql).arrow
    if csv:
        import sys

        from pyarrow import csv as arrow_csv

        arrow_csv.write_csv(found, sys.stdout.buffer)
        return
    rows = found.to_pylist()
    if json:
        emit_json(rows)
        return
    shown = rows if limit == 0 else rows[:limit]
    say(table([list(r.values()) for r in shown], found.column_names))
    if len(shown) < len(rows):
        note(f"{len(shown):,} of {len(rows):,} rows; --limit 0 prints all")
