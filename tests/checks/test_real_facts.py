"""The checks reproduce known facts about published releases, through reader, store and pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from celltable.pipelines.check import check
from celltable.pipelines.ingest import ingest


@pytest.mark.real
@pytest.mark.slow
def test_the_known_facts_about_the_data_science_bowl_are_reproduced(
    sample: Callable[[str], Path], tmp_path: Path
) -> None:
    store = ingest("dsb2018", sample("dsb2018/stage1_train.zip"), tmp_path / "dsb.celltable")
    found = check(store, pixels=False)
    n: Counter[str] = Counter()
    for rule, _, findings, _ in found.counts:
        n[rule] += findings
    by_severity = {(rule, severity): findings for rule, severity, findings, _ in found.counts}
    assert n["overlap"] == n["empty-mask"] == n["outside-image"] == n["count-differs"] == 0
    assert n["hole"] == 425
    assert by_severity["hole", "warning"] == 45
    assert n["several-components"] == 128
    assert by_severity["several-components", "warning"] == 11
    assert n["cut-by-border"] == 5405
    assert found.findings.column("rule").to_pylist()[0] == "outline-mask"


@pytest.mark.real
def test_the_known_specks_of_tnbc_are_found(sample: Callable[[str], Path], tmp_path: Path) -> None:
    store = ingest("tnbc", sample("tnbc/TNBC_NucleiSegmentation.zip"), tmp_path / "tnbc.celltable")
    rows = check(store, rules=["speck", "hole"]).findings.to_pylist()
    specks = {f["image_id"] for f in rows if f["rule"] == "speck" and f["value"] < 10}
    holes = {f["image_id"] for f in rows if f["rule"] == "hole"}
    assert {"03_5", "07_3"} <= {i[-4:] for i in specks}
    assert {"01_2", "02_3", "04_1", "06_1"} <= {i[-4:] for i in holes}
