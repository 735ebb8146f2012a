"""Defects of the annotations: findings per rule, with pictures of the worst."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import numpy as np

from celltable.cells import Sample
from celltable.drawing.page import key, table
from celltable.drawing.picture import MARK, TRUTH, picture
from celltable.plugins.section import Material, Section
from celltable.words import plural

SHOWN = 3  # pictures per rule
RULES = 12
MARGIN = 24  # px around the cell shown
_PLACE = re.compile(r"\((\d+), (\d+)\)")
ORDER = {"error": 0, "warning": 1, "note": 2}


def render(material: Material) -> str:
    """Tabulate the rules and show the cells with the largest measured values for each."""
    every = material.findings.to_pylist()
    if not every:
        return "<p>No findings from the reader or from <code>celltable check</code>.</p>"
    rows = [row for row in every if row["stale"] is None]
    changed = _stale(len(every) - len(rows))
    if not rows:
        return changed
    rules: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        rules.setdefault(row["rule"], []).append(row)
    ranked = sorted(rules.items(), key=lambda item: (min(ORDER.get(r["severity"], 3) for r in item[1]), -len(item[1])))
    overview = table(
        ("rule", "severity", "findings", "images", "largest value", "for example"),
        [
            _summary(rule, [m for m in members if m["severity"] == severity])
            for severity in ORDER
            for rule, members in ranked
            if any(m["severity"] == severity for m in members)
        ],
    )
    pictures = "".join(_pictures(material, rule, members) for rule, members in ranked[:RULES])
    return changed + overview + key([(TRUTH, "annotation"), (MARK, "the finding")]) + pictures


def _stale(n: int) -> str:
    """Describe the findings about cells that have changed since."""
    if not n:
        return ""
    return (
        f"<p>{plural(n, 'finding')} about annotations that have changed since {'is' if n == 1 else 'are'} not shown; "
        "run <code>celltable check</code> again.</p>"
    )


def _summary(rule: str, members: list[dict[str, Any]]) -> list[Any]:
    worst = _worst(members)[0]
    values = [m["value"] for m in members if m["value"] is not None]
    largest = max(values, key=abs, default=None)
    images = len({m["image_id"] for m in members if m["image_id"]})
    return [rule, worst["severity"], len(members), images, largest, worst["message"]]


def _worst(members: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(members, key=lambda m: (ORDER.get(m["severity"], 3), -abs(m["value"] or 0), m["image_id"] or ""))


def _pictures(material: Material, rule: str, members: list[dict[str, Any]]) -> str:
    figures: list[str] = []
    seen: set[str] = set()
    for row in _worst(members):
        if row["image_id"] is None or row["image_id"] in seen or len(figures) == SHOWN:
            continue
        seen.add(row["image_id"])
        sample = material.sample(row["image_id"])
        figures.append(_figure(sample, row))
    return f'<h3>{escape(rule)}</h3><div class="gallery">{"".join(figures)}</div>' if figures else ""


def _figure(sample: Sample, row: dict[str, Any]) -> str:
    caption = f"{escape(row['message'])} <br>{escape(row['image_id'][:40])}" + (
        f", cell {row['instance_id']}" if row["instance_id"] else ""
    )
    cells = sample.instances
    at = np.flatnonzero(cells.ids == row["instance_id"]) if row["instance_id"] is not None else np.zeros(0, int)
    if not len(at):
        return picture(sample, {TRUTH: cells}, caption=caption, places_xy=_places(row["message"]))
    x, y, w, h = (int(v) for v in cells.bbox[at[0]])
    height, width = sample.image.size
    side = max(w, h, 40) + 2 * MARGIN
    left, top = (max(0, min(c + s // 2 - side // 2, full - side)) for c, s, full in ((x, w, width), (y, h, height)))
    window = (left, top, min(side, width - left), min(side, height - top))
    others = np.ones(len(cells), bool)
    others[at] = False
    return picture(sample, {TRUTH: cells.take(others), MARK: cells.take(at)}, caption=caption, window=window)


def _places(message: str) -> list[tuple[float, float]]:
    """Parse the places in a finding's message: ``… around x, y = (984, 570), (707, 29), …``."""
    _, named, places = message.partition("x, y = ")
    return [(float(x), float(y)) for x, y in _PLACE.findall(places)] if named else []


SECTION = Section("findings", "Findings", 40, render)
