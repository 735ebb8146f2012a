"""``celltable check``: defects of the annotations, worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._output import Json, StoreArgument, Workers, count, emit_json, note, say, table

if TYPE_CHECKING:
    from celltable.pipelines.check import Checked


def check(
    store: StoreArgument,
    rules: Annotated[str | None, typer.Option("--rules", help="Only these checks, separated by commas.")] = None,
    pixels: Annotated[bool, typer.Option(help="Run the checks that look at the images, too.")] = True,
    examples: Annotated[int, typer.Option("--examples", help="Findings to print of each rule.")] = 1,
    list_rules: Annotated[bool, typer.Option("--list", help="List the checks and what mends each.")] = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Look for defects and write them to findings.parquet; nothing is changed.

    The exit status is 1 where there are findings of severity error or warning, 0 where there are none.

    Example: celltable check dsb.celltable
    """
    if list_rules:
        _list(json)
        return
    from celltable.pipelines.check import check as run

    names = [r.strip() for r in (rules or "").split(",") if r.strip()]
    found = run(store, rules=names, pixels=pixels, workers=workers, progress=not json)
    if json:
        counts = [dict(zip(("rule", "severity", "findings", "images"), row, strict=True)) for row in found.counts]
        emit_json(
            {
                "images": found.images,
                "rules": counts,
                "skipped": dict(found.skipped),
                "findings": found.findings.to_pylist(),
            }
        )
    else:
        _print(found, examples)
        where = count(found.images, "image")
        say(f"{count(found.findings.num_rows, 'finding')} in {where}, written to {store}/findings.parquet")
        for rule, reason in found.skipped.items():
            note(f"not run: {rule}: {reason}")
    raise typer.Exit(int(any(severity != "note" for _, severity, _, _ in found.counts)))


def _print(found: Checked, examples: int) -> None:
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found.findings.to_pylist():
        rows.setdefault((row["rule"], row["severity"]), []).append(row)
    for members in rows.values():
        members.sort(key=lambda m: -abs(m["value"] or 0))
    if found.counts:
        lines = [[*counted, rows[counted[0], counted[1]][0]["value"]] for counted in found.counts]
        say(table(lines, ("rule", "severity", "findings", "images", "largest value")))
    worst = {counted[0]: counted[1] for counted in reversed(found.counts)}
    for rule in dict.fromkeys(counted[0] for counted in found.counts) if examples else ():
        say(f"\n{rule}")
        for m in rows[rule, worst[rule]][:examples]:
            where = f"{m['image_id'] or 'release'}" + (f", cell {m['instance_id']}" if m["instance_id"] else "")
            say(f"  {where}: {m['message']}")
    if found.counts:
        say("")


def _list(json: bool) -> None:
    from celltable import plugins

    checks = plugins.load_all("checks").values()
    if json:
        emit_json([{"rule": c.rule, "title": c.title, "severity": c.severity, "about": c.description} for c in checks])
        return
    rows = [[c.rule, c.severity, c.title, ", ".join(c.repairs)] for c in checks]
    say(table(rows, ("rule", "severity", "what", "mended by")))
