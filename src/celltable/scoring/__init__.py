"""Scoring: pairs of ground truth and prediction, code that protocols share, the engine, and its results."""

from __future__ import annotations

from .engine import score_pairs
from .pair import Pair
from .side import Side

__all__ = ["Pair", "Side", "score_pairs"]
