"""``celltable export``: write a store in another format and report what was lost."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ._output import How, Json, Options, Overwrite, Scheduler, Workers, count, emit_json, keywords, say, table

if TYPE_CHECKING:
    from celltable.plugins.options import Option

WIDTH: Final = 110  # characters per line
_ORDER: Final = {"images": 0, "cells": 1, "files": 2}


def export(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="STORE... [OUT]",
            help="Celltable folders, then the file or folder to write (by default STORE-FORMAT in the current folder).",
        ),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", "-t", help="Name of the format, coco by default; --list shows all.")
    ] = None,
    where: Annotated[str | None, typer.Option("--where", help="SQL condition on images: \"split = 'test'\".")] = None,
    option: Options = None,
    list_formats: Annotated[
        bool,
        typer.Option("--list", help="List the formats with their options, or describe in full the one given by --to."),
    ] = False,
    palette: Annotated[str | None, typer.Option("--palette", help="Palette (image-mask-png): v1, v2.")] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Edge of the written images in px, for formats that let you set it.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Shares of the parts in per cent, for example 80/15/5.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed for drawing the parts.")] = None,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Reproduce the published tool's defects.")
    ] = False,
    overwrite: Overwrite = False,
    workers: Workers = None,
    how: How = "threads",
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Write a store in another format and report what the format could not hold.

    Example: celltable export dsb.celltable --to coco dsb.json
    """
    from celltable.errors import CelltableError
    from celltable.pipelines.convert import default_name
    from celltable.pipelines.convert import export as run

    if list_formats:
        _list(json, to)
        return
    to = to or "coco"
    if not paths:
        raise CelltableError("export needs a STORE, for example: celltable export dsb.celltable --to coco dsb.json")
    named_out = len(paths) > 1 and not (paths[-1] / "dataset.json").exists()
    stores, out = (paths[:-1], paths[-1]) if named_out else (paths, default_name(paths, to))
    named = {"palette": palette, "size": size, "split": split, "seed": seed, "as_published": as_published or None}
    options: dict[str, Any] = {**keywords(option, run), **{k: v for k, v in named.items() if v is not None}}
    report = run(
        stores, to, out, where=where, overwrite=overwrite,
        workers=workers, how=how, scheduler=scheduler, progress=not json, **options,
    )  # fmt: skip
    if json:
        emit_json({"out": str(out), "format": to, "written": dict(report.written), "loss": dict(report.items)})
        return
    order = sorted(report.written, key=lambda what: (_ORDER.get(what, len(_ORDER)), what))
    made = ", ".join(count(report.written[what], what.removesuffix("s")) for what in order)
    say(f"{out}: {made or 'written'} as {to}")
    if report.items:
        say("Lost or changed in this format:")
        say(table([[n, what] for what, n in sorted(report.items.items())], indent=2))
    else:
        say("Lost: nothing")


def _list(json: bool, only: str | None) -> None:
    from celltable import plugins

    formats = plugins.load_all("formats") if only is None else {only: plugins.load("formats", only)}
    if json:
        rows = [{"name": f.name, "title": f.title, "read": f.read is not None, "write": f.write is not None,
                 "keeps": sorted(f.keeps),
                 "options": {o.name: _said(o) for o in f.options}} for f in formats.values()]  # fmt: skip
        emit_json(rows)
        return
    say(
        table(
            [[f.name, f.title, f.read is not None, f.write is not None] for f in formats.values()],
            ("name", "format", "read", "write"),
        )
    )
    for f in formats.values():
        if only is not None:
            say(f"\n{fill(f.description, WIDTH)}\n\nKeeps: {fill(', '.join(sorted(f.keeps)), WIDTH)}\n")
        for option in f.options:
            line = f"  {f.name} -O {option.name}=…  {_said(option)}"
            say(fill(line, WIDTH, subsequent_indent="      ", break_on_hyphens=False))


def _said(option: Option) -> str:
    """Describe an option: its meaning, accepted values and default."""
    return f"{option.about}; {option.expected} (default {option.usual})"
