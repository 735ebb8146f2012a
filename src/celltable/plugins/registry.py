"""Plug-ins by file name: adding a data set, format, check, repair, metric or report section is adding one file.

A plug-in is a module of one of the packages below that does not begin with an underscore; it holds one object under the
name given here and is imported only when asked for. Third parties add theirs through entry points of the group
``celltable.<kind>`` (for example ``celltable.metrics``), each naming such an object.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from functools import lru_cache
from importlib import metadata
from typing import Any, Final

from celltable.errors import UnknownPluginError

ATTRIBUTE: Final = {
    "datasets": "DATASET",
    "formats": "FORMAT",
    "checks": "CHECK",
    "repairs": "REPAIR",
    "metrics": "METRIC",
    "models": "MODEL",
    "reports": "SECTION",
}
SINGULAR: Final = {
    "datasets": "data set",
    "formats": "format",
    "checks": "check",
    "repairs": "repair",
    "metrics": "metric",
    "models": "model",
    "reports": "report section",
}
KEBAB: Final = frozenset({"checks", "repairs", "formats", "models", "reports"})  # with hyphens; look-ups take both


@lru_cache
def _builtin(kind: str) -> dict[str, str]:
    package = importlib.import_module(f"celltable.{kind}")
    modules = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    return {_spell(kind, m): f"celltable.{kind}.{m}" for m in modules}


@lru_cache
def _third_party(kind: str) -> dict[str, metadata.EntryPoint]:
    return {_spell(kind, e.name): e for e in metadata.entry_points(group=f"celltable.{kind}")}


def _spell(kind: str, name: str) -> str:
    return name.replace("_", "-") if kind in KEBAB else name.replace("-", "_")


def names(kind: str) -> tuple[str, ...]:
    """All plug-ins of a kind, sorted, without importing them.

    >>> "several-components" in names("checks")
    True
    """
    return tuple(sorted({**_third_party(kind), **_builtin(kind)}))


def load(kind: str, name: str) -> Any:
    """Return the plug-in object called `name`; hyphens and underscores are the same.

    Raises
    ------
    UnknownPluginError
        If there is none of that name; the message suggests the nearest.
    """
    key = _spell(kind, name.strip())
    if key in _builtin(kind):
        return getattr(importlib.import_module(_builtin(kind)[key]), ATTRIBUTE[kind])
    if key in _third_party(kind):
        return _third_party(kind)[key].load()
    raise UnknownPluginError(_unknown(kind, key))


def load_all(kind: str) -> dict[str, Any]:
    """Every plug-in of a kind by name, in name order."""
    return {name: load(kind, name) for name in names(kind)}


def _unknown(kind: str, name: str) -> str:
    near = difflib.get_close_matches(name, names(kind), n=1)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names(kind))}."
    return f"No {SINGULAR[kind]} is called '{name}'. {hint}"
