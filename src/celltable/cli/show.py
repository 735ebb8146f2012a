"""``celltable show``: summarise a store, or several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ._output import Json, cell, count, emit_json, say, table

_FACTS = {"instances": "cells", "edits": "repairs"}
_SPREADS = (
    ("cells per annotated image", "cells_per_image"),
    ("cells per 10,000 px²", "density"),
    ("cell area, px²", "area_px2"),
)
_TABLES = (
    ("classes", "cells by class"),
    ("kinds", "cells by kind"),
    ("tissue", "images by tissue"),
    ("cell_type", "images by cell type"),
    ("modality", "images by modality"),
    ("split", "images by part"),
    ("labels", "images by label"),
)
MOST = 20  # rows of a table


def show(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="One or more celltable folders.")],
    json: Json = False,
) -> None:
    """Summarise a store (counts, sizes, modalities, classes, licence and citation), or several side by side.

    Example: celltable show dsb.celltable tnbc.celltable
    """
    from celltable.pipelines.show import summary

    summaries = [summary(path) for path in stores]
    if json:
        emit_json(summaries[0] if len(summaries) == 1 else summaries)
    elif len(summaries) == 1:
        _one(summaries[0])
    else:
        _side_by_side(summaries)


def _one(s: dict[str, Any]) -> None:
    of = f" by {s['model']}" if s["model"] else ""
    say(f"{s['title'] or s['name']}  ({s['store']}, {s['kind']}{of})")
    facts: list[tuple[str, Any]] = [("images", s["images"]), ("cells", s["instances"])]
    for key in ("unlabelled_images", "partially_annotated_images", "ignored_images", "empty_images", "leakage_groups"):
        if s[key]:
            facts.append((key.replace("_", " "), s[key]))
    say(table(facts, indent=2))
    rows = [[label, *s[key].values()] for label, key in _SPREADS if s[key]]
    if rows:
        say("\n" + table(rows, ("", "min", "5 %", "median", "mean", "95 %", "max"), indent=2))
    counted = [("size, rows × columns", {f"{r['height']} × {r['width']}": r["images"] for r in s["sizes"]})]
    counted += [(key.replace("_", " "), s[key]) for key in ("modality", "image_class", "tissue", "cell_type", "split")]
    counted += [("cells by class", s["classes"]), ("cells by kind", s["kinds"]), ("image labels", s["labels"])]
    counted += [("findings", s["findings"])]
    for label, values in counted:
        if values:
            say(f"\n  {label}: {_counts(values)}")
    if s["stale_findings"]:
        n = s["stale_findings"]
        say(f"  {count(n, 'finding')} on annotations that have changed since: run celltable check again")
    say(f"\n  licence: {_terms(s)}")
    say(f"  cite: {s['citation']}" + (f" doi:{s['doi']}" if s["doi"] and s["doi"] not in s["citation"] else ""))
    for line in s["history"]:
        say(f"  done: {line}")


def _counts(values: dict[str, int], most: int = 12) -> str:
    shown = [f"{k} {n:,}" for k, n in list(values.items())[:most]]
    return ", ".join(shown) + (f", and {len(values) - most} more" if len(values) > most else "")


def _side_by_side(summaries: list[dict[str, Any]]) -> None:
    names = [str(s["name"]) for s in summaries]
    header = [n if names.count(n) == 1 else str(s["store"]) for n, s in zip(names, summaries, strict=True)]
    facts = ("images", "instances", "unlabelled_images", "partially_annotated_images", "leakage_groups", "edits")
    rows: list[list[Any]] = [[_FACTS.get(key, key.replace("_", " ")), *(s[key] for s in summaries)] for key in facts]
    rows.append(["findings", *(sum(s["findings"].values()) for s in summaries)])
    rows = [row for row in rows if any(row[1:])]
    for label, key in _SPREADS:
        rows.append([f"{label}, median", *(s[key]["median"] if s[key] else None for s in summaries)])
        rows.append(["  5 to 95 %", *(_from_to(s[key]) for s in summaries)])
    say(table(rows, ("", *header), numbers=True))
    for key, title in _TABLES:
        have = [(name, s[key]) for name, s in zip(header, summaries, strict=True) if s[key]]
        lines = _shares([counted for _, counted in have])
        if len(lines) > 1:
            say("\n" + table(lines, (title, *(name for name, _ in have)), numbers=True))
    say("\n" + table([[name, _terms(s)] for name, s in zip(header, summaries, strict=True)], ("licence", "")))


def _from_to(spread: dict[str, float] | None) -> str:
    return f"{cell(spread['p5'])} to {cell(spread['p95'])}" if spread else ""


def _terms(s: dict[str, Any]) -> str:
    return f"{s['licence']}" + (" (non-commercial)" if s["non_commercial"] else "")


def _shares(counted: list[dict[str, int]]) -> list[list[str]]:
    """Make a row per value, most frequent in any store first, with its number and share in each store."""
    totals = [sum(c.values()) or 1 for c in counted]
    top = {v: max(c.get(v, 0) / n for c, n in zip(counted, totals, strict=True)) for c in counted for v in c}
    order = sorted(top, key=lambda v: (-top[v], v))
    rows = [[v, *(_share(c.get(v, 0), n) for c, n in zip(counted, totals, strict=True))] for v in order[:MOST]]
    if len(order) > MOST:
        rest = (sum(c.get(v, 0) for v in order[MOST:]) for c in counted)
        rows.append([f"{len(order) - MOST} others", *map(_share, rest, totals)])
    return rows


def _share(n: int, total: int) -> str:
    return f"{n:,} ({n / total:.0%})" if n else ""
