"""The import graph: no circles, private modules stay in their package, and plug-ins never import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from celltable import plugins

KINDS = [*plugins.FAMILIES, "cli"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("celltable", cache_dir=None)


def test_no_modules_import_each_other_in_a_circle(graph: grimp.ImportGraph) -> None:
    """List all imports, including those inside functions and under TYPE_CHECKING."""
    left = {(a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)}
    while done := {a for a, _ in left} ^ {b for _, b in left}:
        left = {(a, b) for a, b in left if a not in done and b not in done}
    assert not left


def private_imports(path: Path) -> Iterator[str]:
    """List the private modules and names that a file imports from other packages of celltable."""
    here = ".".join(path.relative_to(ROOT / "src").parts) if path.is_relative_to(ROOT / "src") else ""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, private, _ = name.partition("._")
            if private and package.startswith("celltable.") and not f"{here}.".startswith(f"{package}."):
                yield f"{path.relative_to(ROOT)}: {name}"


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks"])
def test_private_modules_and_names_are_imported_by_their_own_package_only(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    assert [name for path in files for name in private_imports(path)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_plug_ins_never_import_each_other(graph: grimp.ImportGraph, kind: str) -> None:
    package = f"celltable.{kind}"
    plug_ins = {m for m in graph.find_children(package) if not m.rpartition(".")[2].startswith("_")}
    assert plug_ins
    found = {(m, other) for m in plug_ins for other in graph.find_modules_directly_imported_by(m) if other in plug_ins}
    assert not found


@pytest.mark.parametrize("kind", KINDS)
def test_private_modules_of_plug_ins_never_import_a_plug_in(graph: grimp.ImportGraph, kind: str) -> None:
    package = f"celltable.{kind}"
    children = graph.find_children(package)
    private = {m for m in children if m.rpartition(".")[2].startswith("_") and not m.endswith("._parity")}
    found = {
        (m, other)
        for m in private
        for other in graph.find_modules_directly_imported_by(m)
        if other in children - private
    }
    assert not found


def test_every_plug_in_holds_its_object_under_its_own_name() -> None:
    for kind in plugins.FAMILIES:
        for name, plug_in in plugins.load_all(kind).items():
            own = getattr(plug_in, "rule", None) or plug_in.name
            assert own.replace("-", "_") == name.replace("-", "_")
