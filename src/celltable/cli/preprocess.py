"""``celltable preprocess``: other microscopes' images in the look of a known data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Workers, emit_json, say


def preprocess(
    path: Annotated[Path, typer.Argument(metavar="IMAGES", help="A folder or archive of images.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    like: Annotated[str, typer.Option("--like", help="The look: livecell.")] = "livecell",
    pixel_size: Annotated[float | None, typer.Option("--pixel-size", help="Edge of a pixel in µm.")] = None,
    background: Annotated[bool, typer.Option(help="Divide out the background.")] = True,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Bring images to LIVECell's look: 10x equivalent, even background, median 128, 8 bit.

    Example: celltable preprocess my_images/ ready/ --like livecell --pixel-size 0.65
    """
    from celltable.pipelines.preprocess import preprocess as run

    paths = run(
        path, out, like=like, pixel_size_um=pixel_size, background=background, workers=workers, progress=not json
    )
    emit_json({"files": [str(p) for p in paths]}) if json else say(f"{out}: {len(paths):,} images like {like}")
