"""The data set in numbers, and its terms of use."""

from __future__ import annotations

from html import escape
from typing import Any

from celltable.drawing.page import number, table, tile
from celltable.plugins.section import Material, Section


def render(material: Material) -> str:
    """Show counts as tiles and terms as a table; show several stores side by side."""
    first = material.summaries[0]
    tiles = [tile(first["images"], "images"), tile(first["instances"], "cells")]
    for name, label in (
        ("unlabelled_images", "unlabelled images"),
        ("partially_annotated_images", "partially annotated"),
        ("ignored_images", "never scored"),
        ("empty_images", "without cells"),
        ("leakage_groups", "leakage groups"),
        ("edits", "repairs"),
    ):
        if first[name]:
            tiles.append(tile(first[name], label.removesuffix("s") if first[name] == 1 else label))
    return f'<div class="tiles">{"".join(tiles)}</div>{_terms(first)}{_side_by_side(material.summaries)}'


def _terms(s: dict[str, Any]) -> str:
    licence = f"{s['licence']}{' (non-commercial)' if s['non_commercial'] else ''}"
    rows = [("licence", licence), ("cite", s["citation"]), ("doi", s["doi"]), ("source", s["source"])]
    files = [
        f"{k.split(':', 1)[-1] or 'folder'}, {v['size']:,} bytes, SHA-256 {v['sha256']}"
        for k, v in s["sources"].items()
    ]
    rows += [("read from", f) for f in files[:6]]
    rows += [("history", line) for line in s["history"]]
    lines = "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in rows if v)
    return f"<h3>Terms and provenance</h3><table>{lines}</table>"


def _side_by_side(summaries: list[dict[str, Any]]) -> str:
    if len(summaries) < 2:
        return ""

    def spread(s: dict[str, Any], key: str) -> str:
        q = s[key]
        return "" if q is None else f"{number(q['median'])} ({number(q['p5'])} to {number(q['p95'])})"

    columns: dict[str, list[Any]] = {
        "": [s["name"] for s in summaries],
        "images": [s["images"] for s in summaries],
        "unlabelled": [s["unlabelled_images"] or None for s in summaries],
        "cells": [s["instances"] for s in summaries],
        "cells per annotated image": [spread(s, "cells_per_image") for s in summaries],
        "cells per 10,000 px²": [spread(s, "density") for s in summaries],
        "cell area, px²": [spread(s, "area_px2") for s in summaries],
        "leakage groups": [s["leakage_groups"] or None for s in summaries],
        "findings": [sum(s["findings"].values()) or None for s in summaries],
        "licence": [s["licence"] for s in summaries],
    }
    filled = {name: values for name, values in columns.items() if any(values)}
    return "<h3>Side by side: median (5 to 95 %)</h3>" + table(list(filled), zip(*filled.values(), strict=True))


SECTION = Section("overview", "What it is", 10, render)
