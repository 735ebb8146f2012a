"""The import graph: plug-ins never import each other; what they share lies in private modules or lower layers."""

from __future__ import annotations

import grimp
import pytest

from celltable import plugins

KINDS = [*plugins.FAMILIES, "cli"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("celltable", cache_dir=None)


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
