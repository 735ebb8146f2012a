"""What the data set is, in numbers, and under which terms it may be used."""

from __future__ import annotations

from html import escape
from typing import Any

from . import Material, Section
from ._html import table, tile


def render(material: Material) -> str:
    """Counts as tiles, terms as a table; several stores side by side."""
    first = material.summaries[0]
    tiles = [tile(first["images"], "images"), tile(first["instances"], "cells")]
    for name, label in (
        ("unlabelled_images", "unlabelled images"),
        ("partially_annotated_images", "partially annotated"),
        ("ignored_images", "images never scored"),
        ("empty_images", "images without a cell"),
        ("leakage_groups", "leakage groups"),
        ("edits", "repairs"),
    ):
        if first[name]:
            tiles.append(tile(first[name], label))
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

    def median(s: dict[str, Any], key: str) -> Any:
        return (s[key] or {}).get("median")

    rows = [
        [s["name"], s["images"], s["instances"], median(s, "cells_per_image"), median(s, "area_px2"),
         ", ".join(s["modality"]), ", ".join(list(s["classes"])[:6]), s["licence"]]
        for s in summaries
    ]  # fmt: skip
    header = ("", "images", "cells", "cells an image", "cell area, px²", "modality", "classes", "licence")
    return "<h3>Side by side (medians)</h3>" + table(header, rows)


SECTION = Section("overview", "What it is", 10, render)
