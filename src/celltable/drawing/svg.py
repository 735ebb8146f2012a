"""Small inline SVG plots: histograms, bars and intervals that print well and need no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

WIDTH, HEIGHT, LEFT, BOTTOM = 420, 190, 46, 34
COLOURS = ("#2a6fb0", "#d9822b", "#3a9b6f", "#b0413e", "#7a5ea8", "#6b6b6b", "#b59a2a", "#3d9db3")


def histogram(
    series: Mapping[str, ArrayLike], *, title: str, label: str, bins: int = 40, log: bool = False, count: str = "cells"
) -> str:
    """Plot a histogram of one or several series over common bins; several are each scaled to their own total.

    Few values make fewer bins than `bins`; where a few are far out, the last bin also holds everything beyond it.
    """
    data = {k: np.asarray(v, float) for k, v in series.items() if np.size(v)}
    if not data:
        return ""
    everything = np.concatenate(list(data.values()))
    edges = _edges(everything, min(bins, max(6, round(2 * max(map(len, data.values())) ** 0.5))), log)
    within = {k: np.clip(v, edges[0], edges[-1]) for k, v in data.items()}
    counts = {k: np.histogram(v, edges)[0] / (len(v) if len(data) > 1 else 1) for k, v in within.items()}
    top = max(float(c.max()) for c in counts.values()) or 1.0
    width = (WIDTH - LEFT - 8) / (len(edges) - 1)
    marks = []
    for n, (name, values) in enumerate(counts.items()):
        if len(counts) == 1:
            for i, v in enumerate(values):
                h = (HEIGHT - BOTTOM - 24) * v / top
                beyond = " and more" if i + 1 == len(values) and everything.max() > edges[-1] else ""
                text = f"{edges[i]:.4g} to {edges[i + 1]:.4g}{beyond}: {v:,.0f}"
                marks.append(
                    f'<rect x="{LEFT + i * width:.1f}" y="{HEIGHT - BOTTOM - h:.1f}" '
                    f'width="{max(width - 0.6, 0.6):.1f}" '
                    f'height="{h:.1f}" fill="{COLOURS[0]}"><title>{text}</title></rect>'
                )
        else:
            points = " ".join(
                f"{LEFT + (i + 0.5) * width:.1f},{HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 24) * v / top:.1f}"
                for i, v in enumerate(values)
            )
            colour = COLOURS[n % len(COLOURS)]
            marks.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            marks.append(
                f'<text x="{WIDTH - 10}" y="{30 + 14 * n}" text-anchor="end" fill="{colour}">{escape(name)}</text>'
            )
    ticks = _ticks(edges, log)
    y_label = count if len(counts) == 1 else f"share of {count}"
    return _frame(title, label, y_label, "".join(marks), ticks, edges, log, top)


def _edges(values: np.ndarray, bins: int, log: bool) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high - low > 2 * (far := float(np.quantile(values, 0.999))) - 2 * low:
        high = far  # otherwise a few outliers would compress everything else
    if log:
        low = max(low, 0.5)
        return np.geomspace(low, max(high, low * 1.01), bins + 1)
    if high <= low:
        return np.linspace(low - 0.5, low + 0.5, 2)
    whole = bool(np.all(values == np.round(values))) and high - low < bins
    return np.arange(low - 0.5, high + 1.5) if whole else np.linspace(low, high, bins + 1)


def _ticks(edges: np.ndarray, log: bool) -> list[float]:
    low, high = float(edges[0]), float(edges[-1])
    if log:
        exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        fine = [m * 10.0**e for e in exponents for m in (1, 3) if low <= m * 10.0**e <= high]
        return fine or [low, high]
    step = 10 ** math.floor(math.log10((high - low) / 3 or 1))
    step *= next((m for m in (1, 2, 5) if (high - low) / (step * m) <= 6), 10)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _frame(
    title: str,
    label: str,
    count: str,
    marks: str,
    ticks: Sequence[float],
    edges: np.ndarray,
    log: bool,
    top: float,
) -> str:
    low, high = float(edges[0]), float(edges[-1])

    def x(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return LEFT + share * (WIDTH - LEFT - 8)

    base = HEIGHT - BOTTOM
    axis = "".join(
        f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="{base}" y2="{base + 4}" stroke="#888"/>'
        f'<text x="{x(t):.1f}" y="{base + 15}" text-anchor="middle">{t:,.6g}</text>'
        for t in ticks
    )
    top_text = f"{top:.0%}" if count.startswith("share") else f"{top:,.0f}"
    middle = (base + 24) / 2
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<text x="{LEFT}" y="13" class="t">{escape(title)}</text>{marks}'
        f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{base}" y2="{base}" stroke="#888"/>{axis}'
        f'<text x="{LEFT - 4}" y="30" text-anchor="end">{top_text}</text>'
        f'<text x="{LEFT - 4}" y="{base}" text-anchor="end">0</text>'
        f'<text transform="translate({LEFT - 32} {middle:.0f}) rotate(-90)" text-anchor="middle" class="u">'
        f"{escape(count)}</text>"
        f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 4}" text-anchor="middle" class="u">{escape(label)}</text></svg>'
    )


def bars(
    values: Mapping[str, float],
    *,
    title: str,
    most: int = 24,
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """Draw one horizontal bar per name, followed by its number; `intervals` draws a whisker from low to high."""
    shown = list(values.items())[:most]
    if not shown:
        return ""
    row, left = 19, 170
    top = max(max((v for _, v in shown), default=1), max((h for _, h in (intervals or {}).values()), default=0)) or 1
    lines = []
    for i, (name, value) in enumerate(shown):
        y, w = 24 + i * row, (WIDTH - left - 60) * max(value, 0) / top
        lines.append(
            f'<text x="{left - 6}" y="{y + 11}" text-anchor="end">{escape(name[:28])}'
            f"<title>{escape(name)}</title></text>"
        )
        lines.append(
            f'<rect x="{left}" y="{y}" width="{w:.1f}" height="{row - 5}" fill="{COLOURS[i % len(COLOURS)]}"/>'
        )
        if intervals and name in intervals:
            a, b = (left + (WIDTH - left - 60) * max(v, 0) / top for v in intervals[name])
            lines.append(
                f'<line x1="{a:.1f}" x2="{b:.1f}" y1="{y + 7}" y2="{y + 7}" stroke="#222" stroke-width="1.5"/>'
            )
        text = f"{value:,.0f}" if value >= 100 or float(value).is_integer() else f"{value:.3f}"
        lines.append(f'<text x="{left + w + 5:.1f}" y="{y + 11}">{text}</text>')
    height = 30 + len(shown) * row
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f'<text x="8" y="13" class="t">{escape(title)}</text>{"".join(lines)}</svg>'
    )


def ranges(series: Mapping[str, ArrayLike], *, title: str, label: str) -> str:
    """Draw one line per series on a common logarithmic axis: 5 to 95 % thin, 25 to 75 % thick, a tick at the median."""
    data = {k: np.asarray(v, float) for k, v in series.items()}
    spread = {k: np.percentile(v[v > 0], (5, 25, 50, 75, 95)) for k, v in data.items() if (v > 0).any()}
    if not spread:
        return ""
    zeros = sum(int((v <= 0).sum()) for v in data.values())
    label += f"; {zeros:,} of 0 left out" if zeros else ""
    low, high = min(float(v[0]) for v in spread.values()), max(float(v[4]) for v in spread.values())
    low, high = low / 1.2, max(high, low * 1.5) * 1.2
    row, left = 17, 132

    def x(value: float) -> float:
        return left + math.log(value / low) / math.log(high / low) * (WIDTH - left - 14)

    lines = []
    for i, (name, q) in enumerate(spread.items()):
        y, colour = 30 + i * row, COLOURS[i % len(COLOURS)]
        a, b, c, d, e = (x(float(v)) for v in q)
        text = f"{name}: median {q[2]:,.4g}, half between {q[1]:,.4g} and {q[3]:,.4g}"
        lines.append(
            f'<g stroke="{colour}"><title>{escape(text)}</title>'
            f'<line x1="{a:.1f}" x2="{e:.1f}" y1="{y}" y2="{y}"/>'
            f'<line x1="{b:.1f}" x2="{d:.1f}" y1="{y}" y2="{y}" stroke-width="7"/>'
            f'<line x1="{c:.1f}" x2="{c:.1f}" y1="{y - 6}" y2="{y + 6}" stroke="#111" stroke-width="2"/></g>'
            f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{escape(name[:20])}</text>'
        )
    base = 30 + len(spread) * row
    axis = "".join(
        f'<line x1="{x(t):.1f}" x2="{x(t):.1f}" y1="22" y2="{base}" stroke="#ddd"/>'
        f'<text x="{x(t):.1f}" y="{base + 12}" text-anchor="middle">{t:,.6g}</text>'
        for t in _ticks(np.array([low, high]), log=True)
    )
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {base + 30}" role="img" aria-label="{escape(title)}">'
        f'<text x="8" y="13" class="t">{escape(title)}</text>{axis}{"".join(lines)}'
        f'<text x="{(left + WIDTH) / 2}" y="{base + 26}" text-anchor="middle" class="u">{escape(label)}</text></svg>'
    )
