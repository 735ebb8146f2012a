"""``celltable demo``: run the whole workflow offline on generated releases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Overwrite, Seed, emit_json, say


def demo(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for all output.")] = Path("demo"),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Run the whole workflow offline on generated releases, and print the path of the report to open.

    Example: celltable demo
    """
    from celltable.pipelines.demo import demo as run

    report = run(folder, seed=seed, overwrite=overwrite, say=(lambda line: None) if json else say)
    if json:
        emit_json({"report": str(report)})
