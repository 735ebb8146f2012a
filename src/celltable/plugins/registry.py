"""Find plug-ins by file name: to add a data set, format, check, repair, metric, model or report section, add one file.

A plug-in is a module of one of the packages below whose name does not begin with an underscore; it holds one object
under the name given here and is imported only when requested. Third parties add theirs through entry points of the
group ``celltable.<family>`` (for example ``celltable.metrics``), each naming such an object.
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
    """A family of plug-ins that share a contract.

    Attributes
    ----------
    noun
        What a plug-in of this family is called.
    attribute
        The variable that holds the plug-in in its module.
    contract
        The class of the plug-ins, as ``module:Class``; imported when one is loaded.
    hyphen
        Separator of the words in a name, "-" or "_"; look-ups accept both.
    """

    noun: str
    attribute: str
    contract: str
    hyphen: str = "-"

    def spelt(self, name: str) -> str:
        """Spell a name with this family's separator.

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
    """Map plug-in names to entry points; more than one if several packages use the same name."""
    found: dict[str, tuple[metadata.EntryPoint, ...]] = {}
    for entry in metadata.entry_points(group=f"celltable.{family}"):
        name = FAMILIES[family].spelt(entry.name)
        found[name] = (*found.get(name, ()), entry)
    return found


def names(family: str) -> tuple[str, ...]:
    """List the plug-in names of a family, sorted, without importing the plug-ins.

    >>> "several-components" in names("checks")
    True
    """
    return tuple(sorted({**_third_party(family), **_builtin(family)}))


def load(family: str, name: str) -> Any:
    """Load the plug-in called `name`; hyphens and underscores are equivalent.

    Raises
    ------
    UnknownPluginError
        If no plug-in has that name; the message suggests the nearest name.
    PluginError
        If it cannot be imported, is not a plug-in of this family, or has the same name as another one.
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
    """Load all plug-ins of a family, in the order of their names."""
    return {name: load(family, name) for name in names(family)}


def home(family: str, name: str) -> str:
    """Return the name of the module that holds a plug-in.

    >>> home("metrics", "ap-coco")
    'celltable.metrics.ap_coco'
    """
    key = FAMILIES[family].spelt(name)
    return _builtin(family).get(key) or _third_party(family)[key][0].module


def beside(family: str, name: str, file: str) -> Path:
    """Return the path of a file next to a plug-in's module, whether or not the file exists.

    >>> beside("metrics", "ap_coco", "vectors/ap_coco.json").exists()
    True
    """
    spec = importlib.util.find_spec(home(family, name))
    if spec is None or spec.origin is None:
        raise PluginError(f"the {FAMILIES[family].noun} {name} is not defined in a file, so no file is beside it.")
    return Path(spec.origin).parent / file


@lru_cache
def _loaded(family: str, key: str, entry: metadata.EntryPoint) -> Any:
    """Load the object of an entry point and check it against its family's contract."""
    where = f"the {FAMILIES[family].noun} {key} of {_package(entry)} ({entry.value})"
    try:
        plugin = entry.load()
    except MissingExtraError:
        raise
    except Exception as exc:
        raise PluginError(
            f"{where} cannot be loaded: {type(exc).__name__}: {exc}. Update, fix or uninstall the package."
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
    """List all rules that celltable and the installed plug-ins declare, by name; this loads the plug-ins.

    >>> [r.emitters for r in all_rules() if r.name == "speck"]
    [('check',)]
    """
    for family in REPORTING:
        load_all(family)
    return rules.all_rules()
