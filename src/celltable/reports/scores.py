"""The scores, with the protocol that defines each."""

from __future__ import annotations

from html import escape
from typing import Any

from celltable.drawing.page import table
from celltable.drawing.svg import bars, histogram
from celltable.plugins.section import Material, Section


def render(material: Material) -> str:
    """Show pooled numbers with intervals, groups as bars, the spread over images, and the protocol cards."""
    notes = "".join(f"<p>{escape(note)}</p>" for note in material.score_notes)
    if not material.scores:
        return notes
    pooled = [r for r in material.scores if r["level"] == "pooled"]
    units = {name: card["unit"] for name, card in material.cards.items() if card.get("unit")}
    rows = [[r["metric"], r["mode"], _number(r, units), r["value"], _interval(r)] for r in pooled]
    html = table(("metric", "mode", "number", "value", "95 % interval"), rows)
    plots = []
    for metric in dict.fromkeys(r["metric"] for r in material.scores):
        values = [r["value"] for r in material.scores if r["metric"] == metric and r["level"] == "image" and _finite(r)]
        if values:
            plots.append(
                histogram(
                    {metric: values}, title=f"{metric} per image", label=units.get(metric, "score"), count="images"
                )
            )
        plots += _groups([r for r in material.scores if r["metric"] == metric and r["level"] == "group"], metric)
    cards = "".join(_card(name, card) for name, card in material.cards.items())
    return f'{html}{notes}<div class="plots">{"".join(plots)}</div>{cards}'


def _number(row: dict[str, Any], units: dict[str, str]) -> str:
    """Return the name of a number, with the unit for the headline."""
    unit = units.get(row["metric"], "") if row["field"] == "value" else ""
    return f"{row['field']} ({unit})" if unit else str(row["field"])


def _finite(row: dict[str, Any]) -> bool:
    return row["value"] is not None and row["value"] == row["value"] and row["field"] == "value"


def _interval(row: dict[str, Any]) -> str:
    low, high = row["ci_low"], row["ci_high"]
    return "" if low is None or low != low else f"{low:.4g} to {high:.4g}"


def _groups(rows: list[dict[str, Any]], metric: str) -> list[str]:
    plots = []
    for by in dict.fromkeys(r["group_by"] for r in rows):
        members = [r for r in rows if r["group_by"] == by and _finite(r)]
        values = {str(r["group_value"]): r["value"] for r in members}
        intervals = {str(r["group_value"]): (r["ci_low"], r["ci_high"]) for r in members if r["ci_low"] is not None}
        plots.append(bars(values, title=f"{metric} by {by}", intervals=intervals))
    return plots


def _card(name: str, card: dict[str, Any]) -> str:
    lines = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in card.items() if v)
    return f"<details><summary>Protocol card of {escape(name)}</summary><table>{lines}</table></details>"


SECTION = Section("scores", "Scores", 50, render)
