"""``celltable sample``: balanced subsets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Overwrite, Seed, StoreArgument, emit_json, say


def sample(
    store: StoreArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The store to write.")],
    per: Annotated[
        tuple[str, int], typer.Option("--per", help="Column and number: 'class 200', 'tissue 10', 'label 5'.")
    ] = ("class", 200),
    images: Annotated[bool, typer.Option("--images", help="Draw whole images instead of cells.")] = False,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw the same number of cells (or images) of each class into a new store.

    Example: celltable sample pannuke.celltable small.celltable --per class 200
    """
    from celltable.pipelines.sample import sample as run

    what = "images" if images else "cells"
    drawn = run(store, out, per=per[0], n=per[1], what=what, seed=seed, overwrite=overwrite)  # type: ignore[arg-type]
    cells = drawn.columns("area").num_rows
    if json:
        emit_json({"store": str(out), "images": len(drawn), "instances": cells})
    else:
        say(f"{out}: {cells:,} cells in {len(drawn):,} images, {per[1]} {what} per {per[0]}")
