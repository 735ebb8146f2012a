"""Time candidates side by side: once per round, in turns, so that load on the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate: median and fastest time in seconds, and how many times faster than the baseline (medians)."""

    name: str
    median_s: float
    best_s: float
    ratio: float


def compare(candidates: Mapping[str, Callable[[], Any]], *, rounds: int = 7, baseline: str | None = None) -> list[Row]:
    """Call each candidate once to warm up, then once per round; ratios are to `baseline`, by default the first one."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        call()
    for _ in range(rounds):
        for name, call in candidates.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(found) for name, found in times.items()}
    reference = medians[baseline if baseline is not None else next(iter(medians))]
    return [Row(name, medians[name], min(found), reference / medians[name]) for name, found in times.items()]


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print rows as a plain table: milliseconds and ratios."""
    width = max(len(r.name) for r in rows)
    print(f"\n{title}")
    print(f"  {'':{width}}  {'median ms':>10}  {'best ms':>10}  {'ratio':>8}")
    for r in rows:
        print(f"  {r.name:{width}}  {r.median_s * 1e3:10.3f}  {r.best_s * 1e3:10.3f}  {r.ratio:7.1f}×")
