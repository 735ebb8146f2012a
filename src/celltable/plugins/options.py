"""Options of plug-ins: declared once, parsed and checked by the same code for Python and the command line.

A plug-in lists its options as `Option` objects. `settle` turns a caller's input (``name=value`` texts of the
command line, or keyword arguments from Python) into a complete set of values, or says in one sentence what is wrong.
"""

from __future__ import annotations

import builtins
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from celltable.errors import OptionError
from celltable.words import hint, nearest

TRUE: Final = frozenset({"yes", "true", "on", "1"})
FALSE: Final = frozenset({"no", "false", "off", "0"})


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a plug-in.

    Attributes
    ----------
    name
        With underscores, as a keyword argument; the command line also accepts hyphens.
    default
        Its value if not given; None means "not given" and is then a valid value.
    about
        What it means, phrased to follow the name.
    type
        bool, int, float, str or pathlib.Path; by default the type of the default (required if that is None).
    several
        Whether the value is a tuple of `type`: text is split at commas, and a single value becomes a tuple of one.
    choices
        The only values allowed.
    low, high
        Inclusive bounds of numbers; `above` and `below` are exclusive ones.
    unit
        Unit of a number: "px", "px²", "µm".
    at_most
        Another option of the same plug-in whose value this one must not exceed.
    unset
        What None means: "all", "the size of the image".
    """

    name: str
    default: Any
    about: str
    type: builtins.type[Any] | None = None
    several: bool = False
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    unit: str = ""
    at_most: str = ""
    unset: str = ""

    @property
    def kind(self) -> builtins.type[Any]:
        """The type of the value, or of each value if there are several."""
        if self.type is not None:
            return self.type
        sample = next(iter(self.default), 0.0) if self.several else self.default
        if sample is None:
            raise OptionError(f"option {self.name} has the default None and declares no type")
        return type(sample)

    @property
    def meaning(self) -> tuple[Any, ...]:
        """The meaning of a value regardless of default and range; plug-ins share an option if this is equal."""
        return self.kind, self.several, self.about

    @property
    def usual(self) -> str:
        """The default in words."""
        return self.unset or "not given" if self.default is None else shown(self.default)

    def to_dict(self) -> dict[str, Any]:
        """Describe the option in plain values: its name, default, accepted values and meaning."""
        default = list(self.default) if isinstance(self.default, tuple) else self.default
        return {"name": self.name, "default": default, "takes": self.expected, "meaning": self.about}

    @property
    def expected(self) -> str:
        """Valid values, in words.

        >>> Option("iou", 0.5, "", low=0, high=1).expected
        'a number from 0 to 1'
        """
        if self.choices:
            return _either(self.choices) + (", or several of them separated by commas" if self.several else "")
        one, many = _KINDS.get(self.kind, ("a value", "values"))
        unit = f" ({self.unit})" if self.unit else ""
        noun = (many if self.several else one) + self._bounds() + unit
        return f"{noun}, separated by commas" if self.several else noun

    def _bounds(self) -> str:
        if self.low is not None and self.high is not None:
            return f" from {self.low:g} to {self.high:g}"
        low = (
            f"of {self.low:g} or more"
            if self.low is not None
            else f"above {self.above:g}"
            if self.above is not None
            else ""
        )
        high = (
            f"of at most {self.high:g}"
            if self.high is not None
            else f"below {self.below:g}"
            if self.below is not None
            else ""
        )
        return "".join(f" {text}" for text in (low, "and" if low and high else "", high) if text)

    def value(self, given: Any, owner: str = "") -> Any:
        """Convert a given value to the option's type and check it.

        >>> Option("as_published", False, "").value("no")
        False
        >>> Option("thresholds", (0.5,), "", several=True, low=0, high=1).value("0.5,0.75")
        (0.5, 0.75)

        Raises
        ------
        OptionError
            If the value has the wrong type, is not one of the choices, or is out of range.
        """
        if given is None and self.default is None:
            return None
        try:
            return self._several(given) if self.several else self._one(given)
        except (ValueError, TypeError, OverflowError):
            where = f"{owner}: " if owner else ""
            raise OptionError(
                f"{where}option {self.name} is {shown(given)!r}; expected {self.expected} (default {self.usual})."
                f"{self._near(given)}"
            ) from None

    def _near(self, given: Any) -> str:
        """Suggest the choice that a wrong word resembles; empty if none does."""
        names = [str(choice) for choice in self.choices]
        wrong = [word.strip() for word in shown(given).split(",") if word.strip() not in names]
        near = nearest(wrong[0], names) if names and wrong else None
        return f" Did you mean {near}?" if near else ""

    def _several(self, given: Any) -> tuple[Any, ...]:
        if isinstance(given, str):
            parts: Iterable[Any] = [part.strip() for part in given.split(",") if part.strip()]
        elif hasattr(given, "tolist"):
            found = given.tolist()
            parts = found if isinstance(found, list) else [found]
        elif isinstance(given, Iterable) and not isinstance(given, Mapping):
            parts = given
        else:
            parts = [given]
        values = tuple(self._one(part) for part in parts)
        if not values and self.default != ():
            raise ValueError("empty")
        return values

    def _one(self, given: Any) -> Any:
        value = _converted(given.item() if hasattr(given, "item") else given, self.kind)
        if self.choices and value not in self.choices:
            raise ValueError("not among the choices")
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_range(value)
        return value

    def _check_range(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError("not a finite number")
        inside = (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )
        if not inside:
            raise ValueError("out of range")


_KINDS: Final[dict[type, tuple[str, str]]] = {
    bool: ("yes or no", "yes or no"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "words"),
    Path: ("a path", "paths"),
}


def _converted(given: Any, kind: type) -> Any:
    if kind is bool:
        return _boolean(given)
    if kind is int:
        return _integer(given)
    if kind is float:
        if isinstance(given, bool) or not isinstance(given, int | float | str):
            raise ValueError("not a number")
        return float(given)
    if kind is str:
        if not isinstance(given, str):
            raise TypeError("not text")
        return given
    if issubclass(kind, Path):
        if not isinstance(given, str | os.PathLike):
            raise TypeError("not a path")
        return Path(given)
    if isinstance(given, kind):
        return given
    raise TypeError(f"not {kind.__name__}")


def _boolean(given: Any) -> bool:
    if isinstance(given, bool):
        return given
    if isinstance(given, int | str):
        text = str(given).strip().lower()
        if text in TRUE | FALSE:
            return text in TRUE
    raise ValueError("neither yes nor no")


def _integer(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        raise TypeError("not a number")
    if isinstance(given, float) or (isinstance(given, str) and not given.strip().lstrip("+-").isdigit()):
        number = float(given)
        if number != int(number):
            raise ValueError("not a whole number")
        return int(number)
    return int(given)


def _either(values: Sequence[Any]) -> str:
    words = [shown(v) for v in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def shown(value: Any) -> str:
    """Format a value as it is typed on the command line.

    >>> shown((1, 10, 100)), shown(True), shown(0.5), shown(None)
    ('1,10,100', 'yes', '0.5', 'not given')
    """
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return ",".join(shown(v) for v in value)
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def split_texts(texts: Iterable[str]) -> dict[str, str]:
    """Split ``name=value`` arguments of the command line into a mapping; hyphens in names become underscores.

    >>> split_texts(["size=512", "as-published=no"])
    {'size': '512', 'as_published': 'no'}

    Raises
    ------
    OptionError
        If an argument has no ``=`` or a name is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sep, value = text.partition("=")
        key = _plain(name)
        if not sep or not key:
            raise OptionError(f"'{text}' is not an option; expected NAME=VALUE, for example size=512.")
        if key in found:
            raise OptionError(f"option {key} is given twice: {found[key]} and {value}; give it once.")
        found[key] = value
    return found


def defaults(options: Sequence[Option]) -> dict[str, Any]:
    """Map option names to defaults.

    >>> defaults([Option("size", 256, "edge of an image")])
    {'size': 256}
    """
    return {option.name: option.default for option in options}


def settle(options: Sequence[Option], given: Mapping[str, Any] | None, owner: str) -> dict[str, Any]:
    """Return the value of every option: the given one, parsed and checked, or the default.

    Parameters
    ----------
    options
        The options that the plug-in declares.
    given
        Names → values; text is parsed, so that the command line and Python share one set of rules.
    owner
        The owner of the options, for messages: "the format coco".

    >>> settle([Option("size", 256, "", low=1), Option("seed", 0, "")], {"size": "512"}, "the format x")
    {'size': 512, 'seed': 0}

    Raises
    ------
    OptionError
        If an option is unknown (the nearest name is suggested), or a value is invalid.
    """
    known = {option.name: option for option in options}
    values = defaults(options)
    for spelt, value in (given or {}).items():
        name = spelt.replace("-", "_")
        if name not in known:
            raise OptionError(f"{owner} has no option '{spelt}'. {hint(name, known, what='Its options')}")
        values[name] = known[name].value(value, owner)
    for option in options:
        _check_order(option, values, owner)
    return values


def _check_order(option: Option, values: Mapping[str, Any], owner: str) -> None:
    own, limit = values[option.name], values.get(option.at_most)
    if own is not None and limit is not None and own > limit:
        most = f"{option.at_most}, which is {shown(limit)}"
        raise OptionError(f"{owner}: option {option.name} is {shown(own)}; expected at most {most}.")


class Configurable(Protocol):
    """A plug-in that declares options."""

    @property
    def name(self) -> str: ...
    @property
    def options(self) -> tuple[Option, ...]: ...


def settle_each(
    plugins: Sequence[Configurable], given: Mapping[str, Any] | None, noun: str
) -> dict[str, dict[str, Any]]:
    """Settle the options of several plug-ins that run together: plug-in name → option → value.

    Parameters
    ----------
    plugins
        The plug-ins chosen.
    given
        Three forms, of which the narrower wins: ``option`` → value for every chosen plug-in that has the option;
        ``plug-in.option`` → value; ``plug-in`` → {option: value}.
    noun
        The family's noun, for messages: "check".

    Raises
    ------
    OptionError
        If no chosen plug-in has the option or the given plug-in name, if an option means different things to several
        plug-ins (so that the plug-in must be named), or if a value is invalid.

    >>> from celltable.plugins import load
    >>> checks = [load("checks", "speck"), load("checks", "hole")]
    >>> settle_each(checks, {"min-px": "20", "hole.serious_px": 5}, "check")
    {'speck': {'min_px': 20.0, 'min_share': 0.02}, 'hole': {'serious_px': 5.0}}
    """
    by_name = {_plain(plugin.name): plugin for plugin in plugins}
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {name: {} for name in by_name}
    for spelt, value in (given or {}).items():
        owner, dot, option = spelt.rpartition(".")
        if isinstance(value, Mapping):
            own[_chosen(spelt, by_name, noun)].update({_plain(k): v for k, v in value.items()})
        elif dot:
            own[_chosen(owner, by_name, noun)][_plain(option)] = value
        else:
            _refuse_unclear(_plain(spelt), spelt, by_name, noun)
            shared[_plain(spelt)] = value
    settled = {}
    for name, plugin in by_name.items():
        known = {option.name for option in plugin.options}
        asked = {key: value for key, value in shared.items() if key in known} | own[name]
        settled[plugin.name] = settle(plugin.options, asked, f"the {noun} {plugin.name}")
    return settled


def _plain(name: str) -> str:
    return name.strip().replace("-", "_")


def _chosen(spelt: str, by_name: Mapping[str, Configurable], noun: str) -> str:
    name = _plain(spelt)
    if name not in by_name:
        names = [plugin.name for plugin in by_name.values()]
        raise OptionError(f"options are given for '{spelt}', which is not a chosen {noun}. {hint(spelt, names)}")
    return name


def _refuse_unclear(name: str, spelt: str, by_name: Mapping[str, Configurable], noun: str) -> None:
    """Refuse an option that no chosen plug-in has, or that means different things to several of them."""
    owners = {plugin.name: option for plugin in by_name.values() for option in plugin.options if option.name == name}
    if not owners:
        known = {option.name for plugin in by_name.values() for option in plugin.options}
        raise OptionError(f"no chosen {noun} has the option '{spelt}'. {hint(name, known, what='Options')}")
    if len({option.meaning for option in owners.values()}) > 1:
        each = ", ".join(owners)
        raise OptionError(
            f"'{spelt}' means different things to {each}; name the {noun}, for example {next(iter(owners))}.{name}=…."
        )
