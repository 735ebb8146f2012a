"""``celltable import``: read annotations or predictions in any known format into a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Options, Overwrite, count, emit_json, keywords, say


def import_(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="[FORMAT] PATH OUT",
            help="The file or folder to read and the store to write. The format is detected from the content unless "
            "you name it, here or with --from; `celltable export --list` shows all.",
        ),
    ],
    form: Annotated[str | None, typer.Option("--from", "-f", help="Name of the format.")] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="The annotated images, as a store or in any format: provides sizes and pixels."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the new data set.")] = None,
    licence: Annotated[str, typer.Option("--licence", help="Licence of the annotations.")] = "not stated",
    option: Options = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make a store from annotations or predictions in any known format.

    Example: celltable import submission.csv pred.celltable --images dsb.celltable
    """
    from celltable.pipelines.convert import import_annotations

    form, path, out = _arguments(paths, form)
    store = import_annotations(
        form,
        path,
        out,
        images=images,
        name=name,
        licence=licence,
        overwrite=overwrite,
        progress=not json,
        **keywords(option, import_annotations),
    )
    used = store.info["reader"]["format"]
    cells, findings = store.columns("area").num_rows, len(store.findings)
    if json:
        counts = {"images": len(store), "instances": cells, "findings": findings}
        emit_json({"store": str(out), "format": used, **counts})
    else:
        content = f"{count(len(store), 'image')} and {count(cells, 'cell')} of {path.name} ({used})"
        say(f"{out}: {content}, with {count(findings, 'finding')}")
        bare = sum(not row for row in store.images.column("pixels").to_pylist())
        if bare:
            say(f"{count(bare, 'image')} without pixels; use --images STORE to take them from a store that has them")


def _arguments(given: list[str], form: str | None) -> tuple[str | None, Path, Path]:
    """Split the arguments into format, input and output; the format is the first of three."""
    from celltable.errors import InputError

    if len(given) == 3 and form is None:
        return given[0], Path(given[1]), Path(given[2])
    if len(given) == 2:
        return form, Path(given[0]), Path(given[1])
    example = "celltable import pred.json pred.celltable, or celltable import coco pred.json pred.celltable"
    raise InputError(f"found {' '.join(given)}; expected PATH OUT or FORMAT PATH OUT, for example {example}.")
