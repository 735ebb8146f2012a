"""A package outside the repository adds plug-ins: they pass the contract tests and work in every command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import celltable
from celltable.plugins.example import drawn
from celltable.store import StoreWriter, open_store

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "petri"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package as pip does: modules and a .dist-info with its entry points, in a separate folder."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(EXAMPLE / "petri", site / "petri", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLE / "test_petri.py", site)
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = site / "petri-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: petri\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()) for group, entries in groups]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return site


def run(package: Path, *arguments: str | Path, status: int = 0) -> str:
    """Run a Python module with celltable and the package on the path, in the folder of the package."""
    source = Path(celltable.__file__).resolve().parents[1]
    paths = [str(package), str(source), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "200"},
        cwd=package,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status in (0, 1) else done.stderr


def answer(package: Path, *arguments: str | Path, status: int = 0) -> Any:
    """Return what a command prints as JSON."""
    return json.loads(run(package, "celltable", *arguments, "--json", status=status))


@pytest.mark.slow
def test_the_package_passes_the_contract_tests(package: Path) -> None:
    said = run(package, "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error", "test_petri.py")
    assert " passed" in said
    assert "failed" not in said


def test_its_plug_ins_are_listed_beside_ours(package: Path) -> None:
    assert "petri_dishes" in run(package, "celltable", "datasets")
    assert "Ask the author" in run(package, "celltable", "datasets", "petri-dishes")
    assert "petri-json" in {row["name"] for row in answer(package, "export", "--list")}
    assert "square-cell" in {row["rule"] for row in answer(package, "check", "--list")}
    assert "round-corners" in {row["name"] for row in answer(package, "repair", "--list")}
    assert "bright-pixels" in {row["name"] for row in answer(package, "predict", "--list")}
    assert answer(package, "metrics", "iou-petri")["options"]["eps"]["takes"] == "a number of 0 or more"
    assert "iou_petri" in run(package, "celltable", "parity")


def test_its_data_set_model_metric_and_format_work_in_every_verb(package: Path, tmp_path: Path) -> None:
    make = f"from petri.datasets import example; from pathlib import Path; example(Path({str(tmp_path)!r}), 0)"
    (package / "make_release.py").write_text(make)
    run(package, "make_release")
    gt, pred, back = tmp_path / "gt.celltable", tmp_path / "pred.celltable", tmp_path / "back.celltable"
    run(package, "celltable", "ingest", "petri_dishes", tmp_path / "petri", gt)
    assert answer(package, "predict", gt, "-m", "bright-pixels", "-o", pred, "-O", "level=0.3")["instances"] > 0

    maps = [[s.instances.label_map().label_map > 0 for s in open_store(path).samples()] for path in (gt, pred)]
    both = sum(int((a & b).sum()) for a, b in zip(*maps, strict=True))
    either = sum(int((a | b).sum()) for a, b in zip(*maps, strict=True))
    for options, expected in (((), both / either), (("-O", "iou_petri.eps=1000"), (both + 1000) / (either + 1000))):
        scores = answer(package, "evaluate", gt, pred, "-m", "iou_petri,iou_pixel", *options)["scores"]
        assert scores["iou_petri"]["value"] == pytest.approx(expected, rel=1e-12)

    run(package, "celltable", "export", gt, tmp_path / "gt.json", "--to", "petri-json", "-O", "indent=2")
    assert (tmp_path / "gt.json").read_text().startswith('{\n  "petri": 1')
    assert answer(package, "import", tmp_path / "gt.json", back)["format"] == "petri-json"
    again = answer(package, "evaluate", gt, tmp_path / "gt.json", "-m", "iou_petri")["scores"]["iou_petri"]
    assert again["value"] == 1.0


def test_its_check_and_its_repair_work_in_every_verb(package: Path, tmp_path: Path) -> None:
    store = tmp_path / "s.celltable"
    with StoreWriter(store, {}) as writer:
        writer.append(drawn("111..2.\n111.222\n111..2."))
        writer.finish({"name": "s", "title": "S", "licence": "CC0"})
    only = ("--rules", "square-cell")
    assert [f["instance_id"] for f in answer(package, "check", store, *only, status=1)["findings"]] == [1]
    assert answer(package, "check", store, *only, "-O", "square-cell.min-px=10")["findings"] == []
    assert answer(package, "repair", store, *only, "-O", "min_px=10", "--dry-run")["edits"] == []
    assert [e["repair"] for e in answer(package, "repair", store, *only)["edits"]] == ["round-corners"]
    assert answer(package, "check", store, *only)["findings"] == []
    said = run(package, "celltable", "check", store, "-O", "min_fil=1", status=2)
    assert "no chosen check has the option 'min_fil'. Did you mean min_fill?" in said


def test_near_misses_include_its_plug_ins(package: Path) -> None:
    said = run(package, "celltable", "metrics", "iou_petry", status=2)
    assert "No metric is called 'iou_petry'. Did you mean iou_petri?" in said
