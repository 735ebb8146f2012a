"""``celltable datasets``: list the releases that can be read, or describe one of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ._output import Json, emit_json, say, table


def datasets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Describe this data set in full.")] = None,
    json: Json = False,
) -> None:
    """List the releases that celltable reads, or print what you need to obtain and cite one.

    Example: celltable datasets livecell
    """
    from celltable import plugins
    from celltable.pipelines.datasets import row

    if name is not None:
        entry = row(plugins.load("datasets", name))
        emit_json(entry) if json else _one(entry)
        return
    rows = [row(reader) for reader in plugins.load_all("datasets").values()]
    if json:
        emit_json(rows)
        return
    columns = ("name", "images", "instances", "modality", "target", "access", "licence")
    say(table([[_text(r[c]) for c in columns] for r in rows], columns))
    say("\nDetails of one: celltable datasets NAME. Read one: celltable ingest NAME RELEASE OUT.celltable")


def _text(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) else value


def _one(r: dict[str, Any]) -> None:
    say(f"{r['title']}  ({r['name']})\n")
    say(r["description"] + "\n")
    facts = [(key.replace("_", " "), _text(r[key])) for key in ("images", "instances", "modality", "target", "classes")]
    facts += [("licence", r["licence"] + (" (non-commercial)" if r["non_commercial"] else "")), ("cite", r["citation"])]
    facts += [(key.replace("_", " "), _text(r[key])) for key in ("doi", "source", "access", "parts", "protocols")]
    facts += [("leakage group", r["leakage_group"]), ("official splits", ", ".join(r["splits"]))]
    say(table([(k, v) for k, v in facts if v not in (None, "", [])]))
    if r["layout"]:
        say("\nlayout:\n" + "\n".join("  " + line for line in r["layout"].strip().splitlines()))
    say("\nhow to get it:")
    if r["access"] == "free" and r["files"]:
        say(f"  celltable get {r['name']}")
        for f in r["files"]:
            size = f"{f['size'] / 1e6:,.0f} MB" if f["size"] else "size not stated"
            say(f"  {f['url']}  ({size}{', SHA-256 known' if f['sha256'] else ''})")
    else:
        say("  " + (r["how_to_get"] or r["source"]).replace("\n", "\n  "))
    say(f"then: celltable ingest {r['name']} RELEASE {r['name']}.celltable")
