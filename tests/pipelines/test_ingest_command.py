"""What ``celltable ingest`` prints about the findings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from typer.testing import CliRunner

from celltable import plugins
from celltable.cli import build
from celltable.cli.ingest import MOST_RULES
from celltable.store import open_store


def printed(name: str, folder: Path) -> tuple[list[str], Counter[str]]:
    release = plugins.load("datasets", name).example(folder / "release", 0)
    out = folder / "a.celltable"
    result = CliRunner().invoke(build(["ingest", "datasets"]), ["ingest", name, str(release), str(out)])
    assert result.exit_code == 0, result.output
    return result.output.splitlines(), Counter(open_store(out).findings["rule"].to_pylist())


def test_findings_are_counted_by_rule_the_most_frequent_first(tmp_path: Path) -> None:
    lines, rules = printed("kumar", tmp_path)
    assert f"{rules.total()} findings." in lines[0]
    told = dict(part.rsplit(" ", 1) for part in lines[1].removeprefix("Findings: ").rstrip(".").split(", "))
    assert {rule: int(n) for rule, n in told.items()} == rules
    assert lines[2].startswith("Licence: ")


def test_many_kinds_of_findings_are_cut_to_a_line(tmp_path: Path) -> None:
    lines, rules = printed("nuclei_coco", tmp_path)
    assert len(rules) > MOST_RULES
    rest = len(rules) - MOST_RULES
    assert lines[1].endswith(f", and {rest} kind{'' if rest == 1 else 's'} more.")
    assert lines[1].count(",") == MOST_RULES
