"""Plug-ins by file name: adding a data set, format, check, repair, metric, model or report section is adding one file.

A plug-in is a module of one of the packages below that does not begin with an underscore; it holds one object under the
name given here and is imported only when asked for. Third parties add theirs through entry points of the group
``celltable.<family>`` (for example ``celltable.metrics``), each naming such an object.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from celltable import rules
from celltable.errors import MissingExtraError, PluginError, UnknownPluginError
from celltable.rules import Rule
from celltable.words import hint


@dataclass(frozen=True, slots=True)
class Family:
    """Plug-ins of one contract.

    Attributes
    ----------
    noun
        What one of them is called.
    attribute
        The name under which a module holds its plug-in.
    contract
        The class of a plug-in, as ``module:Class``; imported when a plug-in is loaded.
    hyphen
        What separates the words of a name; look-ups take both.
    """

    noun: str
    attribute: str
    contract: str
    hyphen: str = "-"

    def spelt(self, name: str) -> str:
        """The name with this family's hyphens.

        >>> FAMILIES["checks"].spelt("several_components"), FAMILIES["metrics"].spelt("ap-coco")
        ('several-components', 'ap_coco')
        """
        return name.strip().replace("-", self.hyphen).replace("_", self.hyphen)

    def type(self) -> type[Any]:
        """The class of a plug-in."""
        module, _, name = self.contract.partition(":")
        found: type[Any] = getattr(importlib.import_module(module), name)
        return found


FAMILIES: Final = {
    "datasets": Family("data set", "DATASET", "celltable.plugins.dataset:Dataset", "_"),
    "formats": Family("format", "FORMAT", "celltable.plugins.format:Format"),
    "checks": Family("check", "CHECK", "celltable.plugins.check:Check"),
    "repairs": Family("repair", "REPAIR", "celltable.plugins.repair:Repair"),
    "metrics": Family("metric", "METRIC", "celltable.plugins.metric:Metric", "_"),
    "models": Family("model", "MODEL", "celltable.plugins.model:Model"),
    "reports": Family("report section", "SECTION", "celltable.plugins.section:Section"),
}

REPORTING: Final = ("datasets", "formats", "checks")  # families that report findings


@lru_cache
def _builtin(family: str) -> dict[str, str]:
    package = importlib.import_module(f"celltable.{family}")
    modules = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")]
    return {FAMILIES[family].spelt(m): f"celltable.{family}.{m}" for m in modules}


@lru_cache
def _third_party(family: str) -> dict[str, tuple[metadata.EntryPoint, ...]]:
    """Entry points by plug-in name; more than one where two packages use the same name."""
    found: dict[str, tuple[metadata.EntryPoint, ...]] = {}
    for entry in metadata.entry_points(group=f"celltable.{family}"):
        name = FAMILIES[family].spelt(entry.name)
        found[name] = (*found.get(name, ()), entry)
    return found


def names(family: str) -> tuple[str, ...]:
    """All plug-ins of a family, sorted, without importing them.

    >>> "several-components" in names("checks")
    True
    """
    return tuple(sorted({**_third_party(family), **_builtin(family)}))


def load(family: str, name: str) -> Any:
    """Return the plug-in called `name`; hyphens and underscores are the same.

    Raises
    ------
    UnknownPluginError
        If no plug-in has that name; the message suggests the nearest.
    PluginError
        If it cannot be imported, is not a plug-in of this family, or shares its name with another one.
    """
    key = FAMILIES[family].spelt(name)
    home, entries = _builtin(family).get(key), _third_party(family).get(key, ())
    if home is None and not entries:
        raise UnknownPluginError(f"No {FAMILIES[family].noun} is called '{key}'. {hint(key, names(family))}")
    if len(entries) + (home is not None) > 1:
        raise PluginError(_shared_name(family, key, home, entries))
    if home is not None:
        return getattr(importlib.import_module(home), FAMILIES[family].attribute)
    return _loaded(family, key, entries[0])


def load_all(family: str) -> dict[str, Any]:
    """Every plug-in of a family by name, in name order."""
    return {name: load(family, name) for name in names(family)}


def home(family: str, name: str) -> str:
    """The module that holds a plug-in, for files beside it.

    >>> home("metrics", "ap-coco")
    'celltable.metrics.ap_coco'
    """
    key = FAMILIES[family].spelt(name)
    return _builtin(family).get(key) or _third_party(family)[key][0].module


def beside(family: str, name: str, file: str) -> Path:
    """The path of a file next to the module of a plug-in, whether or not it exists.

    >>> beside("metrics", "ap_coco", "vectors/ap_coco.json").exists()
    True
    """
    spec = importlib.util.find_spec(home(family, name))
    if spec is None or spec.origin is None:
        raise PluginError(f"the {FAMILIES[family].noun} {name} is not in a file, so nothing can be beside it.")
    return Path(spec.origin).parent / file


@lru_cache
def _loaded(family: str, key: str, entry: metadata.EntryPoint) -> Any:
    """The object of an entry point, held to the contract of its family."""
    where = f"the {FAMILIES[family].noun} {key} of {_package(entry)} ({entry.value})"
    try:
        plugin = entry.load()
    except MissingExtraError:
        raise
    except Exception as exc:
        raise PluginError(
            f"{where} cannot be loaded: {type(exc).__name__}: {exc}. Update or uninstall the package, or mend it."
        ) from exc
    contract = FAMILIES[family].type()
    if not isinstance(plugin, contract):
        raise PluginError(f"{where} is of type {type(plugin).__name__}; expected a {contract.__qualname__}.")
    if plugin.name != key:
        raise PluginError(f"{where} is named '{plugin.name}'; expected the name of its entry point, '{key}'.")
    return plugin


def _shared_name(family: str, key: str, home: str | None, entries: tuple[metadata.EntryPoint, ...]) -> str:
    owners = ["celltable"] * (home is not None) + [_package(entry) for entry in entries]
    return (
        f"{len(owners)} packages have a {FAMILIES[family].noun} called '{key}': {', '.join(owners)}. "
        "Rename one of them or uninstall its package."
    )


def _package(entry: metadata.EntryPoint) -> str:
    return f"the package {entry.dist.name}" if entry.dist is not None else f"the module {entry.module}"


def all_rules() -> tuple[Rule, ...]:
    """Every rule of findings that celltable and the installed plug-ins declare, by name; loads the plug-ins.

    >>> [r.emitters for r in all_rules() if r.name == "speck"]
    [('check',)]
    """
    for family in REPORTING:
        load_all(family)
    return rules.all_rules()
