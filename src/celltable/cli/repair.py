"""``celltable repair``: mend annotations in the open; every edit can be undone and shared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import Json, StoreArgument, Workers, emit_json, say, table

if TYPE_CHECKING:
    from celltable.pipelines.repair import Repaired


def repair(
    store: StoreArgument,
    rules: Annotated[
        str | None,
        typer.Option("--rules", help="Repairs, or rules to mend, separated by commas; safe ones by default."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back the last repair.")] = False,
    list_repairs: Annotated[bool, typer.Option("--list", help="List the repairs and what each mends.")] = False,
    export_patch: Annotated[
        Path | None, typer.Option("--export-patch", help="Write all edits to a .jsonl or .parquet without pixels.")
    ] = None,
    apply_patch: Annotated[
        Path | None, typer.Option("--apply-patch", help="Apply somebody's patch to the same data set.")
    ] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Mend annotations; the release stays as it is, and every edit is a row with its reason, before and after.

    Example: celltable repair dsb.celltable --rules fill-holes --dry-run
    """
    from celltable.pipelines import repair as pipeline

    if list_repairs:
        _list(json)
    elif undo:
        _print(pipeline.undo(store), f"undone in {store}", json)
    elif export_patch is not None:
        n = pipeline.export_patch(store, export_patch)
        emit_json({"patch": str(export_patch), "edits": n}) if json else say(f"{export_patch}: {n:,} edits, no pixels")
    elif apply_patch is not None:
        _print(pipeline.apply_patch(store, apply_patch, dry_run=dry_run), _where(store, dry_run), json)
    else:
        names = [r.strip() for r in (rules or "").split(",") if r.strip()]
        found = pipeline.repair(store, rules=names, dry_run=dry_run, workers=workers, progress=not json)
        _print(found, _where(store, dry_run), json)


def _where(store: Path, dry_run: bool) -> str:
    return "that would be made (nothing was changed)" if dry_run else f"made in {store}; --undo takes them back"


def _print(found: Repaired, where: str, json: bool) -> None:
    if json:
        emit_json(
            {
                "repairs": list(found.repairs),
                "images": found.images,
                "batch": found.batch,
                "edits": found.edits.to_pylist(),
            }
        )
        return
    if found.counts:
        say(table(found.counts, ("repair", "action", "cells")))
        first = found.edits.slice(0, 1).to_pylist()[0]
        say(f"\nfor example {first['image_id']}, cell {first['instance_id']}: {first['reason']}")
    say(f"{found.edits.num_rows:,} edits by {', '.join(found.repairs) or 'no repair'} {where}")


def _list(json: bool) -> None:
    from celltable import plugins

    repairs = plugins.load_all("repairs").values()
    if json:
        emit_json(
            [{"name": r.name, "about": r.description, "mends": list(r.mends), "default": r.default} for r in repairs]
        )
        return
    rows = [[r.name, ", ".join(r.mends), r.default, r.title] for r in repairs]
    say(table(rows, ("repair", "mends", "by default", "what")))
