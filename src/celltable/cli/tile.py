"""``celltable tile``: cut large images into overlapping tiles."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ._output import How, Json, Overwrite, Scheduler, StoreArgument, Workers, count, emit_json, say


def tile(
    store: StoreArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The store of tiles to write.")],
    size: Annotated[int, typer.Option("--size", min=1, help="Edge of a tile in px.")] = 512,
    overlap: Annotated[
        int,
        typer.Option(
            "--overlap", min=0, help="Pixels that neighbouring tiles share; best larger than the largest cell."
        ),
    ] = 64,
    min_pixels: Annotated[
        int, typer.Option("--min-pixels", min=1, help="Leave out cell fragments with fewer pixels than this.")
    ] = 1,
    form: Annotated[str, typer.Option("--form", help="Pixel files: auto, png, tif or npy.")] = "auto",
    where: Annotated[str | None, typer.Option("--where", help="SQL condition on images: split = 'test'.")] = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    how: How = "threads",
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Cut every image into overlapping tiles of one size.

    Cells cut by a tile's border are marked truncated, tiles of one image share its leakage group, and
    'celltable stitch' reassembles the tiles, or predictions on them.

    Example: celltable tile livecell.celltable tiles.celltable --size 256 --overlap 64
    """
    from celltable.pipelines.tile import tile as run

    made = run(
        store, out, size=size, overlap=overlap, min_pixels=min_pixels, form=form, where=where, overwrite=overwrite,
        workers=workers, how=how, scheduler=scheduler, progress=not json,
    )  # fmt: skip
    table = made.columns("truncated").arrow.column(0)
    cut = sum(table.to_pylist())
    errors = made.findings.column("severity").to_pylist().count("error")
    images = len({dict(m)["tile_of"] for m in made.images.column("metadata").to_pylist()})
    if json:
        numbers = {"images": images, "tiles": len(made), "instances": len(table), "truncated": cut, "errors": errors}
        emit_json({"store": str(out), **numbers})
        return
    tiles = f"{count(len(made), 'tile')} of {count(images, 'image')}"
    say(f"{out}: {tiles}; {count(len(table), 'cell')}, {cut:,} of them cut by a border")
    if errors:
        ask = f"celltable query {shlex.quote(str(out))} \"select * from findings where severity = 'error'\""
        say(f"{count(errors, 'image')} could not be read; the tiles have no pixels: {ask}")
