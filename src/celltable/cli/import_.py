"""``celltable import``: annotations or predictions in some format into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Options, Overwrite, count, emit_json, pairs, say


def import_(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="Name of the format; see `celltable export --list`.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file or folder to read.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The store to write.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="A store whose images are meant: gives sizes and pixels.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the new data set.")] = None,
    licence: Annotated[str, typer.Option("--licence", help="Licence of the annotations.")] = "not stated",
    option: Options = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a store of annotations or predictions in some format.

    Example: celltable import dsb-csv submission.csv pred.celltable --images dsb.celltable
    """
    from celltable.pipelines.convert import import_annotations

    store = import_annotations(
        form,
        path,
        out,
        images=images,
        name=name,
        licence=licence,
        overwrite=overwrite,
        progress=not json,
        **pairs(option),
    )
    cells, findings = store.columns("area").num_rows, len(store.findings)
    if json:
        emit_json({"store": str(out), "images": len(store), "instances": cells, "findings": findings})
    else:
        found = f"{count(len(store), 'image')} and {count(cells, 'cell')} of {path.name}"
        say(f"{out}: {found}, {count(findings, 'finding')} on the way")
        bare = sum(not row for row in store.images.column("pixels").to_pylist())
        if bare:
            say(f"{count(bare, 'image')} without pixels; --images STORE takes them from a store that has them")
