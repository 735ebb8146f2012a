"""``celltable check``: find defects in the annotations, worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._output import (
    How,
    Json,
    OptionalStore,
    PluginOptions,
    Scheduler,
    Workers,
    count,
    emit_json,
    named_store,
    note,
    option_table,
    say,
    table,
    words_of,
)

if TYPE_CHECKING:
    from celltable.pipelines.check import Checked


def check(
    store: OptionalStore = None,
    rules: Annotated[str | None, typer.Option("--rules", help="Only these checks, separated by commas.")] = None,
    pixels: Annotated[bool, typer.Option(help="Also run the checks that need the pixels.")] = True,
    examples: Annotated[int, typer.Option("--examples", help="Number of findings to print per rule.")] = 1,
    option: PluginOptions = None,
    list_rules: Annotated[
        bool,
        typer.Option("--list", help="List the checks, the repair for each and their options; STORE is not needed."),
    ] = False,
    workers: Workers = None,
    how: How = "threads",
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Look for defects and write them to findings.parquet; the annotations are not changed.

    The exit status is 1 if there are findings of severity error or warning, otherwise 0.

    Example: celltable check dsb.celltable -O speck.min_px=20
    """
    names = words_of(rules)
    if list_rules:
        _list(names, json)
        return
    from celltable.pipelines.check import check as run
    from celltable.plugins.options import split_texts

    store = named_store(store, "celltable check dsb.celltable")
    options = split_texts(option or ())
    checked = run(
        store,
        rules=names,
        pixels=pixels,
        options=options,
        workers=workers,
        how=how,
        scheduler=scheduler,
        progress=not json,
    )
    if json:
        counts = [dict(zip(("rule", "severity", "findings", "images"), row, strict=True)) for row in checked.counts]
        emit_json(
            {
                "images": checked.images,
                "rules": counts,
                "skipped": dict(checked.skipped),
                "findings": checked.findings.to_pylist(),
            }
        )
    else:
        _print(checked, examples)
        where = count(checked.images, "image")
        say(f"{count(checked.findings.num_rows, 'finding')} in {where}, written to {store}/findings.parquet")
        for rule, reason in checked.skipped.items():
            note(f"not run: {rule}: {reason}")
    raise typer.Exit(int(any(severity != "note" for _, severity, _, _ in checked.counts)))


def _print(checked: Checked, examples: int) -> None:
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in checked.findings.to_pylist():
        rows.setdefault((row["rule"], row["severity"]), []).append(row)
    for members in rows.values():
        members.sort(key=lambda m: -abs(m["value"] or 0))
    if checked.counts:
        lines = [[*counted, rows[counted[0], counted[1]][0]["value"]] for counted in checked.counts]
        say(table(lines, ("rule", "severity", "findings", "images", "largest value")))
    worst = {counted[0]: counted[1] for counted in reversed(checked.counts)}
    for rule in dict.fromkeys(counted[0] for counted in checked.counts) if examples else ():
        say(f"\n{rule}")
        for m in rows[rule, worst[rule]][:examples]:
            where = f"{m['image_id'] or 'release'}" + (f", cell {m['instance_id']}" if m["instance_id"] else "")
            say(f"  {where}: {m['message']}")
    if checked.counts:
        say("")


def _list(names: list[str], json: bool) -> None:
    from celltable import plugins

    checks = [plugins.load("checks", name) for name in names or plugins.names("checks")]
    if json:
        plain = [
            {
                "rule": c.rule,
                "title": c.title,
                "severity": c.severity,
                "about": c.description,
                "mended_by": list(c.repairs),
                "options": [option.to_dict() for option in c.options],
            }
            for c in checks
        ]
        emit_json(plain)
        return
    say(
        table(
            [[c.rule, c.severity, c.title, ", ".join(c.repairs)] for c in checks],
            ("rule", "severity", "what", "mended by"),
        )
    )
    say("\noptions (celltable check STORE -O CHECK.OPTION=VALUE):")
    say(option_table({c.rule: c.options for c in checks}, noun="check") or "  none")
