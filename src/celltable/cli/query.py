"""``celltable query``: SQL over the tables of a store."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from ._output import Json, StoreArgument, emit_json, note, say, table

TEXT_ROWS: Final = 100  # rows printed as text, unless --limit says otherwise


def query(
    store: StoreArgument,
    sql: Annotated[
        str, typer.Argument(metavar="SQL", help="DuckDB SQL over images, instances, findings, edits, scores.")
    ],
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=0, help="Rows to print: 100 by default as text, all as JSON; 0 prints all."),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: Json = False,
) -> None:
    """Query the tables in SQL.

    Example: celltable query dsb.celltable "select modality, count(*) from instances join images using (image_id) group
    by 1"
    """
    from celltable.store import open_store

    result = open_store(store).query(sql).arrow
    most = (0 if csv or json else TEXT_ROWS) if limit is None else limit
    shown = result.slice(0, most) if most else result
    if csv:
        import sys

        from pyarrow import csv as arrow_csv

        arrow_csv.write_csv(shown, sys.stdout.buffer)
    elif json:
        emit_json(shown.to_pylist(maps_as_pydicts="lossy"))
    else:
        columns = [column.to_pylist(maps_as_pydicts="lossy") for column in shown.columns]
        say(table(list(zip(*columns, strict=True)), result.column_names))
    if len(shown) < len(result):
        note(f"{len(shown):,} of {len(result):,} rows; --limit 0 prints all")
