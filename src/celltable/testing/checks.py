"""The contract of checks: they report the example at the right places, and not clean cells, in any order."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from celltable import plugins
from celltable.cells import Finding, Sample
from celltable.pipelines.check import check as run_check
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample
from celltable.plugins.options import shown
from celltable.rules import SEVERITIES
from celltable.store import Store, StoreWriter

from ._stacks import clean, random_samples
from .base import PluginTests


class CheckTests(PluginTests):
    """Tests of a check; its `example` says what it must find."""

    family = "checks"

    def test_it_reports_its_example_and_nothing_else(self, plugin: Check) -> None:
        """Each defect is found at its image and cell, with a severity and a message."""
        example = _example(plugin)
        found = plugin.run(example.samples, example.dataset)
        assert {(f.image_id, f.instance_id) for f in found} == example.places
        for finding in found:
            assert finding.rule == plugin.rule
            assert finding.severity in SEVERITIES
            assert len(finding.message) > 10

    def test_it_says_what_it_measures_and_who_mends_it(self, plugin: Check) -> None:
        """The description explains a finding's value; every repair exists and lists the rule."""
        assert plugin.title.strip()
        assert "Value: " in plugin.description, "the description does not say what the value of a finding is"
        for name in plugin.repairs:
            assert plugin.rule in plugins.load("repairs", name).mends

    def test_clean_cells_have_no_findings(self, plugin: Check) -> None:
        """Six round cells, apart from each other and from the border, are not a defect."""
        assert plugin.run([clean()]) == []

    def test_the_order_of_cells_changes_nothing(self, plugin: Check) -> None:
        """The same cells in a different order give the same findings."""
        rng = np.random.default_rng(0)
        for sample in random_samples():
            order = rng.permutation(len(sample.instances)).tolist()
            shuffled = replace(sample, instances=sample.instances.take(order))
            assert _sorted(plugin.run([shuffled])) == _sorted(plugin.run([sample]))

    def test_cells_are_left_as_they_were(self, plugin: Check) -> None:
        """A check does not change anything."""
        for sample in _example(plugin).samples:
            before = sample.instances.to_arrow(sample.image.image_id)
            plugin.run([sample])
            assert sample.instances.to_arrow(sample.image.image_id).equals(before)

    def test_what_is_gathered_can_be_sent(self, plugin: Check) -> None:
        """What a whole-dataset check gathers from an image is small and picklable."""
        if plugin.gather is not None:
            for sample in _example(plugin).samples:
                sent = pickle.dumps(plugin.gather(sample))
                assert len(sent) < 10_000
                assert pickle.loads(sent) == plugin.gather(sample)

    def test_the_verb_finds_the_same_in_a_store(self, plugin: Check, tmp_path: Path) -> None:
        """``celltable check`` with every option given as text finds what the function finds."""
        if plugin.needs_pixels or plugin.scope == "dataset":
            pytest.skip("needs pixels or a description that this store does not have")
        sample = _example(plugin).samples[0]
        options = {f"{plugin.rule}.{o.name}": shown(o.default) for o in plugin.options if o.default is not None}
        found = run_check(_store(sample, tmp_path), rules=[plugin.rule], options=options, workers=2)
        rows = [(row["instance_id"], row["severity"], row["message"]) for row in found.findings.to_pylist()]
        assert sorted(rows) == sorted((f.instance_id, f.severity, f.message) for f in plugin.run([sample]))


def _example(check: Check) -> CheckExample:
    assert check.example is not None, f"CHECK of {check.rule} has no example: give it a function that returns one"
    return check.example()


def _sorted(findings: list[Finding]) -> list[str]:
    return sorted(map(repr, findings))


def _store(sample: Sample, folder: Path) -> Store:
    with StoreWriter(folder / "example.celltable", {}) as writer:
        writer.append(sample)
        return writer.finish({"name": "example", "title": "Example", "licence": "CC0"})
