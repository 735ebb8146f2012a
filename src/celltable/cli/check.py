"""``celltable check``: defects of the annotations, worst first."""

from __future__ import annotations

from typing import Annotated

import typer

from ._output import Json, StoreArgument, Workers, emit_json, say, table


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
    from celltable.store import open_store

    names = [r.strip() for r in rules.split(",") if r.strip()] if rules else None
    found = run(open_store(store), rules=names, pixels=pixels, workers=workers, progress=not json)
    rows = found.to_pylist()
    grouped: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        grouped.setdefault(str(row["rule"]), []).append(row)
    worst = {"error": 0, "warning": 1, "note": 2}
    order = sorted(grouped, key=lambda r: (min(worst[str(x["severity"])] for x in grouped[r]), -len(grouped[r])))
    if json:
        emit_json({"findings": len(rows), "rules": {r: len(grouped[r]) for r in order}, "rows": rows})
    else:
        _print(grouped, order, examples)
        say(f"{len(rows):,} findings in {store}/findings.parquet")
    raise typer.Exit(int(any(row["severity"] != "note" for row in rows)))


def _print(grouped: dict[str, list[dict[str, object]]], order: list[str], examples: int) -> None:
    def largest(row: dict[str, object]) -> float:
        value = row["value"]
        return -value if isinstance(value, float) else 0.0

    lines = []
    for rule in order:
        members = sorted(grouped[rule], key=largest)
        images = len({m["image_id"] for m in members if m["image_id"]})
        lines.append([rule, members[0]["severity"], len(members), images, members[0]["value"]])
    if lines:
        say(table(lines, ("rule", "severity", "findings", "images", "largest")))
    for rule in order if examples else ():
        say(f"\n{rule}")
        for m in sorted(grouped[rule], key=largest)[:examples]:
            where = f"{m['image_id'] or 'release'}" + (f", cell {m['instance_id']}" if m["instance_id"] else "")
            say(f"  {where}: {m['message']}")
    if order:
        say("")


def _list(json: bool) -> None:
    from celltable import registry

    checks = registry.load_all("checks")
    if json:
        rows = [
            {"rule": c.rule, "title": c.title, "severity": c.severity, "description": c.description}
            for c in checks.values()
        ]
        emit_json(rows)
    else:
        say(
            table(
                [[c.rule, c.severity, c.title, ", ".join(c.repairs)] for c in checks.values()],
                ("rule", "severity", "what", "mended by"),
            )
        )
