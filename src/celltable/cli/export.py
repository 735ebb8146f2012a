"""``celltable export``: a store in another format, the loss stated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Options, Overwrite, emit_json, pairs, say, table


def export(
    store: Annotated[Path | None, typer.Argument(metavar="STORE", help="A celltable folder.")] = None,
    out: Annotated[Path | None, typer.Argument(metavar="OUT", help="The file or folder to write.")] = None,
    to: Annotated[str, typer.Option("--to", "-t", help="Name of the format; --list names all.")] = "coco",
    where: Annotated[str | None, typer.Option("--where", help="SQL condition on images: \"split = 'test'\".")] = None,
    option: Options = None,
    list_formats: Annotated[bool, typer.Option("--list", help="List the formats with their options.")] = False,
    palette: Annotated[str | None, typer.Option("--palette", help="Palette (image-mask-png): v1, v2.")] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Edge of the written images in px, where it can be set.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Shares of parts, for example 80/15/5.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the parts.")] = None,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Reproduce the published tool's defects.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a store in another format and say what it could not hold.

    Example: celltable export dsb.celltable --to coco dsb.json
    """
    from celltable.errors import CelltableError
    from celltable.pipelines.convert import export as run

    if list_formats:
        _list(json)
        return
    if store is None or out is None:
        raise CelltableError(
            "export needs a STORE and an OUT, for example: celltable export dsb.celltable --to coco dsb.json"
        )
    named = {"palette": palette, "size": size, "split": split, "seed": seed, "as_published": as_published or None}
    options = {**pairs(option), **{k: v for k, v in named.items() if v is not None}}
    loss = run(store, to, out, where=where, overwrite=overwrite, progress=not json, **options)
    if json:
        emit_json({"out": str(out), "format": to, "written": dict(loss.written), "loss": dict(loss.items)})
        return
    made = ", ".join(f"{n:,} {what}" for what, n in loss.written.items())
    say(f"{out}: {made or 'written'} as {to}")
    say("Lost: " + (str(loss).replace("\n", "; ") if loss.items else "nothing"))


def _list(json: bool) -> None:
    from celltable import registry

    formats = registry.load_all("formats")
    if json:
        rows = [{"name": f.name, "title": f.title, "read": f.read is not None, "write": f.write is not None,
                 "keeps": sorted(f.keeps), "options": dict(f.options)} for f in formats.values()]  # fmt: skip
        emit_json(rows)
        return
    say(
        table(
            [[f.name, f.title, f.read is not None, f.write is not None] for f in formats.values()],
            ("name", "format", "read", "write"),
        )
    )
    for f in formats.values():
        for name, about in f.options.items():
            say(f"  {f.name} -O {name}=…  {about}")
