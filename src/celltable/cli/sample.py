"""``celltable sample``: draw balanced subsets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ._output import Json, Overwrite, Seed, StoreArgument, count, emit_json, say, table


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
    from celltable.pipelines.sample import drawn
    from celltable.pipelines.sample import sample as run

    what: Literal["cells", "images"] = "images" if images else "cells"
    made = run(store, out, per=per[0], n=per[1], what=what, seed=seed, overwrite=overwrite)
    cells, counts = made.columns("area").num_rows, drawn(made, per[0], what)
    if json:
        emit_json({"store": str(out), "images": len(made), "instances": cells, "drawn": counts})
        return
    say(f"{out}: {count(cells, 'cell')} in {count(len(made), 'image')}")
    say(table(counts.items(), (per[0], what)))
    fewer = [value for value, n in counts.items() if n < per[1]]
    if fewer:
        say(f"fewer than {per[1]:,} available, all taken: {', '.join(fewer)}")
