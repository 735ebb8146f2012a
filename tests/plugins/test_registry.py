"""The registry: both spellings, near misses, and the error for a package with a broken plug-in."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celltable import plugins
from celltable.errors import PluginError, UnknownPluginError
from celltable.plugins import registry

CHECK = """
from celltable.plugins.check import Check

def find(sample, **options):
    return ()

{name} = Check(rule="{rule}", title="Too round", description="Value: none.", find=find{more})
"""
Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(package, entry_points, source)``: put a third-party package on the path, as pip does."""

    def clear() -> None:
        registry._third_party.cache_clear()
        registry._loaded.cache_clear()
        sys.modules.pop("halo", None)
        importlib.invalidate_caches()

    def make(package: str, entry_points: str, source: str) -> None:
        (tmp_path / f"{package}.py").write_text(source)
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        clear()

    monkeypatch.syspath_prepend(tmp_path)
    yield make
    clear()


def test_both_spellings_find_a_plug_in_and_a_near_miss_is_named() -> None:
    assert plugins.load("checks", "several_components") is plugins.load("checks", "several-components")
    assert plugins.load("metrics", "ap-dsb2018").name == "ap_dsb2018"
    with pytest.raises(UnknownPluginError, match="No metric is called 'pq_panuke'. Did you mean pq_pannuke?"):
        plugins.load("metrics", "pq_panuke")
    with pytest.raises(UnknownPluginError, match="No format is called 'zzzzzzzz'. Available: aperio-xml, "):
        plugins.load("formats", "zzzzzzzz")


def test_a_package_adds_a_plug_in_by_an_entry_point(install: Install) -> None:
    install(
        "halo", "[celltable.checks]\ntoo-round = halo:CHECK\n", CHECK.format(name="CHECK", rule="too-round", more="")
    )
    assert "too-round" in plugins.names("checks")
    assert plugins.load("checks", "too_round").title == "Too round"
    assert plugins.load("checks", "too-round") is plugins.load("checks", "too_round")
    assert plugins.home("checks", "too-round") == "halo"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import nothing_of_that_name",
            "cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_that_name'",
        ),
        ("", "cannot be loaded: AttributeError: module 'halo' has no attribute 'CHECK'"),
        ("CHECK = print", "is of type builtin_function_or_method; expected a Check."),
        ("from celltable.repairs.fill_holes import REPAIR as CHECK", "is of type Repair; expected a Check."),
        (CHECK.format(name="CHECK", rule="round", more=""), "is named 'round'; expected the name of its entry point"),
        (
            CHECK.format(name="CHECK", rule="Too Round", more=""),
            "the name is 'Too Round'; expected lower case with '-'",
        ),
        (
            CHECK.format(name="CHECK", rule="too-round", more=', scope="dataset"'),
            "has the scope 'dataset' and no gather()",
        ),
        (
            CHECK.format(name="CHECK", rule="too-round", more=", options={'size': 3}"),
            "options is {'size': 3}; expected a tuple of celltable.plugins.Option",
        ),
    ],
)
def test_a_broken_plug_in_is_named_with_its_package_and_the_cause(install: Install, source: str, message: str) -> None:
    install("halo", "[celltable.checks]\ntoo-round = halo:CHECK\n", source)
    with pytest.raises(PluginError) as caught:
        plugins.load("checks", "too-round")
    assert "the check too-round of the package halo (halo:CHECK)" in str(caught.value)
    assert message in str(caught.value)


def test_two_plug_ins_with_the_same_name_are_refused_and_both_packages_named(install: Install) -> None:
    install("halo", "[celltable.checks]\nhole = halo:CHECK\n", CHECK.format(name="CHECK", rule="hole", more=""))
    with pytest.raises(PluginError, match="2 packages have a check called 'hole': celltable, the package halo"):
        plugins.load("checks", "hole")
