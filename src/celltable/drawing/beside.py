"""Plots and tables that compare several stores side by side, each in its own fixed colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from celltable.drawing.page import key, table
from celltable.drawing.svg import COLOURS, WIDTH

MOST: Final = 20  # values shown in a plot or table; the others are counted together
_LEFT, _RIGHT, _BAR = 140, 52, 11

Counts = Mapping[str, Mapping[str, int]]


def legend(names: Sequence[str]) -> str:
    """Make the legend: the colour of each store."""
    return key([(COLOURS[n % len(COLOURS)], name) for n, name in enumerate(names)])


def values_of(series: Counts) -> list[str]:
    """List the values of all stores, sorted by their largest share in any store."""
    top: dict[str, float] = {}
    for counts in series.values():
        total = sum(counts.values()) or 1
        for value, n in counts.items():
            top[value] = max(top.get(value, 0), n / total)
    return sorted(top, key=lambda value: (-top[value], value))


def share_bars(series: Counts, *, title: str) -> str:
    """Plot, for each value, one bar per store with the value's share of that store; absent values get no bar."""
    stores = [name for name, counts in series.items() if counts]
    values = values_of(series)[:MOST]
    if not values:
        return ""
    colours = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(series)}
    totals = {s: sum(series[s].values()) for s in stores}
    top = max(series[s].get(v, 0) / totals[s] for s in stores for v in values)
    lines, y = [], 24
    for value in values:
        have = [s for s in stores if series[s].get(value)]
        lines.append(
            f'<text x="{_LEFT - 6}" y="{y + len(have) * _BAR / 2 + 3:.0f}" text-anchor="end">{escape(value[:22])}'
            f"<title>{escape(value)}</title></text>"
        )
        for k, store in enumerate(have):
            n, total, at = series[store][value], totals[store], y + k * _BAR
            width = (WIDTH - _LEFT - _RIGHT) * n / total / top
            lines.append(
                f'<rect x="{_LEFT}" y="{at}" width="{width:.1f}" height="{_BAR - 1}" fill="{colours[store]}">'
                f"<title>{escape(store)}: {escape(value)} {n:,} of {total:,}</title></rect>"
                f'<text x="{_LEFT + width + 4:.1f}" y="{at + _BAR - 2}" font-size="9">{n / total:.1%}</text>'
            )
        y += len(have) * _BAR + 7
    height = y + 4
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f'<text x="8" y="13" class="t">{escape(title)}</text>{"".join(lines)}</svg>'
    )


def count_table(series: Counts, *, what: str) -> str:
    """Tabulate number and share, one row per value and one column per store with any; the last row is the total."""
    series = {store: counts for store, counts in series.items() if counts}
    values = values_of(series)
    if not values:
        return ""
    totals = {store: sum(counts.values()) for store, counts in series.items()}
    rows = [[v, *(_with_share(counts.get(v, 0), totals[s]) for s, counts in series.items())] for v in values[:MOST]]
    if len(values) > MOST:
        rest = [sum(counts.get(v, 0) for v in values[MOST:]) for counts in series.values()]
        shares = [_with_share(n, total) for n, total in zip(rest, totals.values(), strict=True)]
        rows.append([f"{len(values) - MOST} others", *shares])
    rows.append(["all", *(f"{total:,}" for total in totals.values())])
    return table((what, *series), rows)


def _with_share(n: int, total: int) -> str:
    return f"{n:,} ({n / total:.1%})" if n else ""
