"""Run SQL over the tables of a store with DuckDB."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from celltable.errors import InputError


def run_query(sql: str, tables: Mapping[str, str | pa.Table], extra: Mapping[str, pa.Table]) -> pa.Table:
    """Run a statement over tables, each an Arrow table or a select statement that may use the `extra` tables.

    Raises
    ------
    InputError
        If the statement fails; the message is DuckDB's own.
    """
    import duckdb

    with duckdb.connect() as db:
        for name, table in {**extra, **tables}.items():
            if isinstance(table, str):
                db.execute(f"create view {name} as {table}")
            else:
                db.register(name, table)
        try:
            relation = db.sql(sql)
            if relation is None:
                raise InputError("the query returns no rows; expected a select over images, instances, findings, …")
            return relation.to_arrow_table()
        except duckdb.Error as exc:
            raise InputError(f"the query failed: {_reason(exc, tables)}") from exc


def _reason(exc: Exception, tables: Mapping[str, object]) -> str:
    """Return DuckDB's message; for an unknown table, suggest ours instead of DuckDB's internal tables."""
    text = str(exc)
    if not text.startswith("Catalog Error: Table with name"):
        return text
    return f"{text.splitlines()[0]} There are: {', '.join(tables)}."
