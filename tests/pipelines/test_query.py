"""``celltable query`` prints results as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from celltable import plugins
from celltable.cli import build
from celltable.pipelines.ingest import ingest


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query")
    return ingest("bbbc039", plugins.load("datasets", "bbbc039").example(folder, 0), folder / "a.celltable").path


def asked(store: Path, sql: str, *options: str) -> tuple[str, str]:
    result = CliRunner().invoke(build(["query", "datasets"]), ["query", str(store), sql, *options])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


CELLS = "select image_id, area from instances order by all"


def test_a_limit_holds_for_every_output_and_says_what_it_left_out(store: Path) -> None:
    for options in ((), ("--csv",), ("--json",)):
        out, remark = asked(store, CELLS, "--limit", "2", *options)
        n = len(json.loads(out)) if "--json" in options else len(out.splitlines()) - 1
        assert n == 2
        assert remark == "2 of 48 rows; --limit 0 prints all\n"


def test_without_a_limit_people_get_100_rows_and_machines_all(store: Path) -> None:
    many = "select * from range(150)"
    assert len(json.loads(asked(store, many, "--json")[0])) == 150
    assert len(list(csv.reader(io.StringIO(asked(store, many, "--csv")[0])))) == 151
    out, remark = asked(store, many)
    assert len(out.splitlines()) == 101
    assert remark.startswith("100 of 150 rows")
    assert asked(store, many, "--limit", "0")[1] == ""


def test_metadata_are_keys_and_values_and_columns_of_one_name_are_all_printed(store: Path) -> None:
    row = json.loads(asked(store, "select metadata from images order by image_id", "--json")[0])[0]
    assert row["metadata"] == {"site": "1", "well": "A02"}
    out, _ = asked(store, "select metadata from images order by image_id")
    assert "{'site': '1', 'well': 'A02'}" in out
    header, values = asked(store, "select 1 as a, 2 as b, 3 as a")[0].splitlines()
    assert len(header.split()) == len(values.split()) == 3
    assert values.split() == ["1", "2", "3"]


def test_an_unknown_table_is_reported_with_the_existing_ones(store: Path) -> None:
    with pytest.raises(Exception, match="images, instances, findings, edits, scores") as told:
        CliRunner().invoke(
            build(["query", "datasets"]), ["query", str(store), "select 1 from cells"], catch_exceptions=False
        )
    assert "pg_" not in str(told.value)
