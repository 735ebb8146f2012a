"""The contract shared by all plug-ins: a name, a description, options, and that they pickle."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from celltable import plugins
from celltable.errors import OptionError
from celltable.plugins.options import Option, settle, shown


class PluginTests:
    """Tests of one or several plug-ins; every test gets the plug-in as `plugin`.

    Attributes
    ----------
    family
        "checks", "metrics", …; set by the class of each family.
    plugin
        The plug-in to test.
    names
        Alternatively, the names of several plug-ins, which are loaded through the registry.
    """

    family: ClassVar[str]
    plugin: ClassVar[Any] = None
    names: ClassVar[Sequence[str]] = ()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test once per plug-in."""
        if "plugin" not in metafunc.fixturenames:
            return
        named = [plugins.load(self.family, name) for name in self.names]
        tested = named if self.plugin is None else [self.plugin, *named]
        if not tested:
            raise pytest.UsageError(f"{type(self).__name__} tests nothing: set plugin = YOUR_PLUGIN in its body")
        metafunc.parametrize("plugin", tested, ids=[p.name for p in tested], scope="class")

    def test_it_is_found_by_its_name(self, plugin: Any) -> None:
        """``celltable`` finds the plug-in: a file in the folder of its family, or an installed entry point."""
        group = f"celltable.{self.family}"
        known = plugins.names(self.family)
        assert plugin.name in known, f"no entry point of the group {group} is called {plugin.name}; is it installed?"
        assert plugins.load(self.family, plugin.name) is plugin

    def test_its_name_is_spelt_as_its_family_is(self, plugin: Any) -> None:
        """Names are in kebab-case, or with underscores for data sets and metrics."""
        hyphen = plugins.FAMILIES[self.family].hyphen
        assert re.fullmatch(rf"[a-z][a-z0-9]*({hyphen}[a-z0-9]+)*", plugin.name)

    def test_it_can_be_sent_to_another_process(self, plugin: Any) -> None:
        """A plug-in's functions are at the top level of a module, so that workers can import them."""
        again = pickle.loads(pickle.dumps(plugin))
        assert type(again) is type(plugin)
        assert again.name == plugin.name

    def test_every_option_has_a_meaning_and_a_valid_default(self, plugin: Any) -> None:
        """The default is a valid value of the option, in its type and as text."""
        for option in options_of(plugin):
            assert option.about.strip(), f"option {option.name} does not say what it means"
            if option.default is None:
                continue
            assert option.value(option.default) == option.default
            assert option.value(shown(option.default)) == option.default

    def test_values_that_an_option_does_not_take_are_refused(self, plugin: Any) -> None:
        """Numbers out of range, words that are not a choice and text for a number raise OptionError."""
        for option in options_of(plugin):
            for wrong in _wrong_values(option):
                with pytest.raises(OptionError, match=option.name):
                    settle((option,), {option.name: wrong}, "the plug-in")

    def test_an_unknown_option_is_refused(self, plugin: Any) -> None:
        """A plug-in does not accept undeclared options."""
        with pytest.raises(OptionError, match="has no option"):
            settle(options_of(plugin), {"no_such_option": 1}, "the plug-in")


def options_of(plugin: Any) -> tuple[Option, ...]:
    """Return the options that a plug-in declares; empty for families without options."""
    return tuple(getattr(plugin, "options", ()))


def _wrong_values(option: Option) -> list[Any]:
    wrong: list[Any] = []
    if option.choices or option.kind in (bool, int, float):
        wrong.append("no such value")
    if option.low is not None:
        wrong.append(option.low - 1)
    if option.high is not None:
        wrong.append(option.high + 1)
    wrong.extend(bound for bound in (option.above, option.below) if bound is not None)
    return wrong
