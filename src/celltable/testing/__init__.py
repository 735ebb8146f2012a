"""Contract tests for all plug-ins, ours and those of other packages.

The author of a plug-in writes one class in a test file and runs pytest::

    from celltable.testing import CheckTests
    from halo.checks import HALO

    class TestHalo(CheckTests):
        plugin = HALO

``names = plugins.names("checks")`` instead of ``plugin`` tests several plug-ins at once.

What a test needs to know about a plug-in is part of the plug-in or in a file beside it, for example the tiny example
release that a data set writes. pytest is needed only to import this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from .base import PluginTests
    from .checks import CheckTests
    from .datasets import DatasetTests
    from .formats import FormatTests
    from .metrics import MetricTests
    from .models import ModelTests
    from .repairs import RepairTests

_HOME: Final = {
    "PluginTests": "base",
    "CheckTests": "checks",
    "DatasetTests": "datasets",
    "FormatTests": "formats",
    "MetricTests": "metrics",
    "ModelTests": "models",
    "RepairTests": "repairs",
}
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in dict.fromkeys(_HOME.values())))

__all__ = ["CheckTests", "DatasetTests", "FormatTests", "MetricTests", "ModelTests", "PluginTests", "RepairTests"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
