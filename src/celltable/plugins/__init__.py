"""Plug-ins: how they are found, the options that they declare, and the contract of each family."""

from __future__ import annotations

from .options import Option
from .registry import FAMILIES, Family, all_rules, beside, home, load, load_all, names

__all__ = ["FAMILIES", "Family", "Option", "all_rules", "beside", "home", "load", "load_all", "names"]
