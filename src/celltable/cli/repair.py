"""``celltable repair``: repair annotations; every edit is recorded and can be undone and shared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import (
    How,
    Json,
    OptionalStore,
    PluginOptions,
    Scheduler,
    Workers,
    emit_json,
    named_store,
    option_table,
    say,
    table,
    words_of,
)

if TYPE_CHECKING:
    from celltable.pipelines.repair import Repaired


def repair(
    store: OptionalStore = None,
    rules: Annotated[
        str | None,
        typer.Option("--rules", help="Repairs, or rules to fix, separated by commas; the safe repairs by default."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done without changing anything.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Undo the last repair.")] = False,
    option: PluginOptions = None,
    list_repairs: Annotated[
        bool,
        typer.Option(
            "--list", help="List the repairs, the rules each one fixes and their options; STORE is not needed."
        ),
    ] = False,
    export_patch: Annotated[
        Path | None, typer.Option("--export-patch", help="Write all edits to a .jsonl or .parquet file without pixels.")
    ] = None,
    apply_patch: Annotated[
        Path | None, typer.Option("--apply-patch", help="Apply a patch exported from the same data set.")
    ] = None,
    workers: Workers = None,
    how: How = "threads",
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Repair annotations without touching the release; every edit is a row with its reason, before and after.

    Example: celltable repair dsb.celltable --rules fill-holes --dry-run
    """
    names = words_of(rules)
    if list_repairs:
        _list(names, json)
        return
    from celltable.pipelines import repair as pipeline
    from celltable.plugins.options import split_texts

    store = named_store(store, "celltable repair dsb.celltable --rules fill-holes --dry-run")
    if undo:
        _print(pipeline.undo(store), f"undone in {store}", json)
    elif export_patch is not None:
        n = pipeline.export_patch(store, export_patch)
        emit_json({"patch": str(export_patch), "edits": n}) if json else say(f"{export_patch}: {n:,} edits, no pixels")
    elif apply_patch is not None:
        _print(pipeline.apply_patch(store, apply_patch, dry_run=dry_run), _where(store, dry_run), json)
    else:
        options = split_texts(option or ())
        repaired = pipeline.repair(
            store,
            rules=names,
            options=options,
            dry_run=dry_run,
            workers=workers,
            how=how,
            scheduler=scheduler,
            progress=not json,
        )
        _print(repaired, _where(store, dry_run), json)


def _where(store: Path, dry_run: bool) -> str:
    return "that would be made (nothing was changed)" if dry_run else f"made in {store}; --undo takes them back"


def _print(repaired: Repaired, where: str, json: bool) -> None:
    if json:
        emit_json(
            {
                "repairs": list(repaired.repairs),
                "images": repaired.images,
                "batch": repaired.batch,
                "edits": repaired.edits.to_pylist(),
            }
        )
        return
    if repaired.counts:
        say(table(repaired.counts, ("repair", "action", "cells")))
        first = repaired.edits.slice(0, 1).to_pylist()[0]
        say(f"\nfor example {first['image_id']}, cell {first['instance_id']}: {first['reason']}")
    say(f"{repaired.edits.num_rows:,} edits by {', '.join(repaired.repairs) or 'no repair'} {where}")


def _list(names: list[str], json: bool) -> None:
    from celltable import plugins
    from celltable.pipelines.repair import choose

    repairs = choose(names) if names else list(plugins.load_all("repairs").values())
    if json:
        plain = [
            {
                "name": r.name,
                "about": r.description,
                "mends": list(r.mends),
                "default": r.default,
                "options": [option.to_dict() for option in r.options],
            }
            for r in repairs
        ]
        emit_json(plain)
        return
    say(
        table(
            [[r.name, ", ".join(r.mends), r.default, r.title] for r in repairs],
            ("repair", "mends", "by default", "what"),
        )
    )
    say("\noptions (celltable repair STORE --rules REPAIR -O OPTION=VALUE):")
    say(option_table({r.name: r.options for r in repairs}, noun="repair") or "  none")
