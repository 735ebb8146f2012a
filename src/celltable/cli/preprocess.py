"""``celltable preprocess``: make images from other microscopes look like a known data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Workers, count, emit_json, say


def preprocess(
    path: Annotated[Path, typer.Argument(metavar="IMAGES", help="A folder or archive of images.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    like: Annotated[str, typer.Option("--like", help="Data set to imitate: livecell.")] = "livecell",
    pixel_size: Annotated[float | None, typer.Option("--pixel-size", help="Edge of a pixel in µm.")] = None,
    magnification: Annotated[
        float | None,
        typer.Option("--magnification", help="Magnification of the objective, if the pixel size is not known."),
    ] = None,
    fluorescence: Annotated[
        bool, typer.Option("--fluorescence", help="Invert images that are bright on black.")
    ] = False,
    background: Annotated[bool, typer.Option(help="Divide out the background.")] = True,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", help="Pattern of the files to read, such as 'images/*' (masks are images too); may be repeated."
        ),
    ] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Make images look like LIVECell: effective 10x, even background of 128, values from 70 to 180, 8-bit.

    Example: celltable preprocess my_images/ ready/ --like livecell --magnification 20
    """
    from celltable.pipelines.preprocess import preprocess as run

    paths = run(
        path, out, like=like, pixel_size_um=pixel_size, magnification=magnification, fluorescence=fluorescence,
        background=background, only=only or (), workers=workers, progress=not json,
    )  # fmt: skip
    if json:
        emit_json({"files": [str(p) for p in paths]})
        return
    say(f"{out}: {count(len(paths), 'image')} like {like}")
    if pixel_size is None and magnification is None:
        say("not rescaled, taken to be 10x: neither --pixel-size nor --magnification was given")
