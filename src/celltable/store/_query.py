"""SQL over the tables of a store, run by DuckDB."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from celltable.errors import InputError


def run_query(sql: str, tables: Mapping[str, str | pa.Table], extra: Mapping[str, pa.Table]) -> pa.Table:
    """Run a statement over tables, each an Arrow table or a select statement, which may also name `extra` ones.

    Raises
    ------
    InputError
        If the statement does not run; the message is DuckDB's own.
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
            raise InputError(f"the query does not run: {_reason(exc, tables)}") from exc


def _reason(exc: Exception, tables: Mapping[str, object]) -> str:
    """Return DuckDB's words; for an unknown table, with ours in place of the nearest of DuckDB's own."""
    text = str(exc)
    if not text.startswith("Catalog Error: Table with name"):
        return text
    return f"{text.splitlines()[0]} There are: {', '.join(tables)}."
