"""The contract of repairs: the example is repaired as drawn, clean cells are kept, cleared rules find nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celltable import plugins
from celltable.cells import Edit, Sample
from celltable.pipelines.repair import applied
from celltable.plugins.example import RepairExample
from celltable.plugins.options import defaults
from celltable.plugins.repair import Repair

from ._stacks import clean, random_samples
from .base import PluginTests


class RepairTests(PluginTests):
    """Tests of a repair; its `example` says what it must change."""

    family = "repairs"

    def test_it_turns_its_example_into_what_is_expected(self, plugin: Repair) -> None:
        """The cells after the repair equal those of the example, pixel by pixel."""
        example = _example(plugin)
        after = _masks(applied(example.before, _edits(plugin, example.before)))
        expected = _masks(example.after)
        assert list(after) == list(expected)
        for instance_id, mask in expected.items():
            np.testing.assert_array_equal(after[instance_id], mask, err_msg=f"cell {instance_id}")

    def test_what_it_mends_is_found_before_and_no_longer_after(self, plugin: Repair) -> None:
        """The checks of its rules find fewer cells in the example afterwards, and no new ones."""
        example = _example(plugin)
        before, after = (
            {(rule, cell) for rule in plugin.mends for cell in _cells_with(rule, sample)}
            for sample in (example.before, example.after)
        )
        assert before, f"no check of {', '.join(plugin.mends)} finds anything in the example"
        assert after < before

    def test_it_names_rules_of_checks_that_exist(self, plugin: Repair) -> None:
        """Each rule that it mends belongs to a check."""
        assert plugin.title.strip()
        assert plugin.description.strip()
        assert set(plugin.mends) <= set(plugins.names("checks"))

    def test_edits_name_the_repair_the_rule_and_a_reason(self, plugin: Repair) -> None:
        """Every edit can be read on its own."""
        for edit in _edits(plugin, _example(plugin).before):
            assert edit.repair == plugin.name
            assert edit.rule in plugin.mends
            assert len(edit.reason) > 5

    def test_clean_cells_are_left_alone(self, plugin: Repair) -> None:
        """Six round cells, apart from each other and from the border, need no repair."""
        assert _edits(plugin, clean()) == []

    def test_proposals_are_the_same_twice_and_leave_the_sample_as_it_was(self, plugin: Repair) -> None:
        """A repair only proposes edits; it depends only on the cells and does not change them."""
        for sample in random_samples():
            before = sample.instances.to_arrow("a")
            first, second = _edits(plugin, sample), _edits(plugin, sample)
            assert list(map(repr, first)) == list(map(repr, second))
            assert sample.instances.to_arrow("a").equals(before)

    def test_whatever_the_cells_nothing_is_left_of_what_it_clears(self, plugin: Repair) -> None:
        """After the repair, the checks of the rules that it clears find nothing in random cells."""
        for sample in random_samples():
            after = applied(sample, _edits(plugin, sample))
            for rule in plugin.clears:
                assert plugins.load("checks", rule).run([after]) == []


def _example(repair: Repair) -> RepairExample:
    assert repair.example is not None, f"REPAIR of {repair.name} has no example: give it a function that returns one"
    return repair.example()


def _edits(repair: Repair, sample: Sample) -> list[Edit]:
    return list(repair.propose(sample, **defaults(repair.options)))


def _masks(sample: Sample) -> dict[int, NDArray[np.bool_]]:
    ids = sample.instances.ids.tolist()
    return dict(sorted(zip(ids, sample.instances.masks(), strict=True)))


def _cells_with(rule: str, sample: Sample) -> set[int | None]:
    return {finding.instance_id for finding in plugins.load("checks", rule).run([sample])}
