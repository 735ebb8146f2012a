"""``celltable show``: what is in a store, or in several side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ._output import Json, emit_json, say, table


def show(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="One or more celltable folders.")],
    json: Json = False,
) -> None:
    """What is in a store: counts, sizes, modalities, classes, licence and citation.

    Example: celltable show dsb.celltable
    """
    from celltable.pipelines.show import summary

    found = [summary(path) for path in stores]
    if json:
        emit_json(found[0] if len(found) == 1 else found)
    elif len(found) == 1:
        _one(found[0])
    else:
        _side_by_side(found)


def _one(s: dict[str, Any]) -> None:
    say(f"{s['title'] or s['name']}  ({s['store']}, {s['kind']})")
    facts: list[tuple[str, Any]] = [("images", s["images"]), ("cells", s["instances"])]
    for key in ("unlabelled_images", "partially_annotated_images", "ignored_images", "empty_images", "leakage_groups"):
        if s[key]:
            facts.append((key.replace("_", " "), s[key]))
    say(table(facts, indent=2))
    spreads = [
        (label, s[key]) for label, key in (("cells per image", "cells_per_image"), ("cell area, px²", "area_px2"))
    ]
    rows = [[label, *values.values()] for label, values in spreads if values]
    if rows:
        say("\n" + table(rows, ("", "min", "5 %", "median", "mean", "95 %", "max"), indent=2))
    counted = [("size, rows × columns", {f"{r['height']} × {r['width']}": r["images"] for r in s["sizes"]})]
    counted += [(key.replace("_", " "), s[key]) for key in ("modality", "image_class", "tissue", "cell_type", "split")]
    counted += [("cells by class", s["classes"]), ("cells by kind", s["kinds"]), ("image labels", s["labels"])]
    counted += [("findings", s["findings"])]
    for label, values in counted:
        if values:
            say(f"\n  {label}: {_counts(values)}")
    say(f"\n  licence: {s['licence']}" + (" (non-commercial)" if s["non_commercial"] else ""))
    say(f"  cite: {s['citation']}" + (f" doi:{s['doi']}" if s["doi"] and s["doi"] not in s["citation"] else ""))
    for line in s["history"]:
        say(f"  done: {line}")


def _counts(values: dict[str, int], most: int = 12) -> str:
    shown = [f"{k} {n:,}" for k, n in list(values.items())[:most]]
    return ", ".join(shown) + (f", and {len(values) - most} more" if len(values) > most else "")


def _side_by_side(found: list[dict[str, Any]]) -> None:
    def median(s: dict[str, Any], key: str) -> float | None:
        return s[key]["median"] if s[key] else None

    rows: list[list[Any]] = [
        ["images", *(s["images"] for s in found)],
        ["cells", *(s["instances"] for s in found)],
        ["cells an image, median", *(median(s, "cells_per_image") for s in found)],
        ["cell area px², median", *(median(s, "area_px2") for s in found)],
        ["unlabelled images", *(s["unlabelled_images"] for s in found)],
        ["leakage groups", *(s["leakage_groups"] for s in found)],
        ["findings", *(sum(s["findings"].values()) for s in found)],
        ["modality", *(_counts(s["modality"], 3) for s in found)],
        ["classes", *(_counts(s["classes"], 5) for s in found)],
        ["licence", *(s["licence"] for s in found)],
    ]
    say(table(rows, ("", *(str(s["name"]) for s in found))))
