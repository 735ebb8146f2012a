"""Validate plug-ins when they are created, so that mistakes are reported before anything runs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celltable.errors import PluginError

from .options import Option, shown


def check_name(owner: str, name: Any, hyphen: str = "-") -> None:
    """Refuse a name that is not in lower case with `hyphen` between its words.

    Raises
    ------
    PluginError
        If it is spelt differently.

    >>> check_name("the metric ap_coco", "ap_coco", "_")
    """
    if not isinstance(name, str) or not re.fullmatch(rf"[a-z][a-z0-9]*({hyphen}[a-z0-9]+)*", name):
        usual = f"a{hyphen}name"
        raise PluginError(f"{owner}: the name is {name!r}; expected lower case with '{hyphen}' between words: {usual}.")


def check_options(
    owner: str,
    options: Sequence[Option],
    functions: Mapping[str, Callable[..., Any] | None],
    *,
    given: int,
    each: bool = True,
) -> None:
    """Refuse options that a plug-in's functions do not take, and parameters that no option declares.

    Parameters
    ----------
    owner
        The plug-in, for messages: "the check hole".
    options
        The options that it declares.
    functions
        Its functions by name; None for a function that it does not have.
    given
        How many leading arguments celltable passes by position.
    each
        Whether every function must take every option, rather than at least one function taking each.

    Raises
    ------
    PluginError
        If they do not agree, or an option is declared twice.

    >>> check_options("the check x", [Option("low", 1, "least size")], {"find": lambda sample, *, low=1: []}, given=1)
    """
    if not all(isinstance(option, Option) for option in options):
        raise PluginError(f"{owner}: options is {options!r}; expected a tuple of celltable.plugins.Option.")
    declared = {option.name: option for option in options}
    if len(declared) < len(options):
        raise PluginError(f"{owner} declares an option twice: {', '.join(option.name for option in options)}.")
    for option in options:
        if option.at_most and option.at_most not in declared:
            raise PluginError(f"{owner}: option {option.name} is at most '{option.at_most}', which is not an option.")
    missing: list[set[str]] = []
    for name, function in functions.items():
        if function is None:
            continue
        taken, any_name = parameters(function, given)
        for spare in taken.keys() - declared.keys():
            raise PluginError(f"{owner}: {name}() takes '{spare}', which none of its options declares.")
        _same_defaults(f"{owner}: {name}()", taken, declared)
        missing.append(set() if any_name else declared.keys() - taken.keys())
    if not missing:
        return
    lacking = set.union(*missing) if each else set.intersection(*missing)
    if lacking:
        names = " and ".join(f"{name}()" for name, function in functions.items() if function is not None)
        raise PluginError(f"{owner} declares the option {', '.join(sorted(lacking))}, which {names} does not take.")


def parameters(function: Callable[..., Any], given: int) -> tuple[dict[str, Any], bool]:
    """Return a function's parameters after the first `given`, with defaults, and whether it takes any keyword.

    >>> def find(sample, *, low=1, **rest): ...
    >>> parameters(find, 1)
    ({'low': 1}, True)
    """
    try:
        every = list(inspect.signature(function).parameters.values())
    except ValueError:  # a C function without a signature
        return {}, True
    any_name = any(p.kind is p.VAR_KEYWORD for p in every)
    named = [p for p in every if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return {p.name: p.default for p in named[given:]}, any_name


def _same_defaults(where: str, taken: Mapping[str, Any], declared: Mapping[str, Option]) -> None:
    for name, default in taken.items():
        if default is not inspect.Parameter.empty and default != declared[name].default:
            raise PluginError(
                f"{where} has the default {shown(default)} for '{name}', its option has "
                f"{shown(declared[name].default)}; expected one default."
            )
