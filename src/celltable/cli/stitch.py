"""``celltable stitch``: reassemble tiles, or predictions on them, into whole images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Overwrite, Workers, count, emit_json, say


def stitch(
    tiles: Annotated[Path, typer.Argument(metavar="TILES", help="A store of tiles, or predictions on one.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The store to write.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="The store of the whole images; provides pixels and groups.")
    ] = None,
    match: Annotated[
        float,
        typer.Option(
            "--match",
            min=0,
            max=1,
            help="Share of pixels that two cells in different tiles must have in common to be one.",
        ),
    ] = 0.5,
    overwrite: Overwrite = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Reassemble tiles into whole images: each cell once, without seams, scores kept.

    Example: celltable stitch tiles.pred.celltable pred.celltable --images livecell.celltable
    """
    from celltable.pipelines.tile import INCOMPLETE
    from celltable.pipelines.tile import stitch as run
    from celltable.store import open_store

    before = open_store(tiles)
    fragments = before.columns("area").num_rows
    store = run(before, out, images=images, match=match, overwrite=overwrite, workers=workers, progress=not json)
    cells = store.columns("area").num_rows
    missing = store.findings.column("rule").to_pylist().count(INCOMPLETE)
    if json:
        numbers = {"images": len(store), "instances": cells, "of_tiles": len(before), "of_instances": fragments}
        emit_json({"store": str(out), **numbers, "incomplete_images": missing})
        return
    whole = f"{count(cells, 'cell')} in {count(len(store), 'image')}"
    say(f"{out}: {whole}, of {count(fragments, 'cell')} in {count(len(before), 'tile')}")
    if missing:
        lacking = "image lacks tiles and is" if missing == 1 else "images lack tiles and are"
        say(f"{missing:,} {lacking} marked as not exhaustive")
