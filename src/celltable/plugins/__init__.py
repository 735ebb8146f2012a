"""Plug-ins: how they are found, and what each kind must hold."""

from __future__ import annotations

from .registry import ATTRIBUTE, KEBAB, SINGULAR, load, load_all, names

__all__ = ["ATTRIBUTE", "KEBAB", "SINGULAR", "load", "load_all", "names"]
