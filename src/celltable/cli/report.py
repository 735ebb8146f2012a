"""``celltable report``: write one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, emit_json, say


def report(
    stores: Annotated[
        list[Path], typer.Argument(metavar="STORE...", help="The store to report on, and others to compare with it.")
    ],
    predictions: Annotated[Path | None, typer.Option("--predictions", "-p", help="A store of predictions.")] = None,
    out: Annotated[Path, typer.Option("--output", "-o", help="The HTML file to write.")] = Path("report.html"),
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metrics", "-m", help="Metric to show; may be repeated. The first one ranks the images."),
    ] = None,
    json: Json = False,
) -> None:
    """Write one offline HTML page: counts, plots, pictures, findings, best and worst images, scores.

    Example: celltable report dsb.celltable --predictions pred.celltable -o report.html
    """
    from celltable.pipelines.report import report as run

    path = run(stores[0], out, predictions=predictions, others=stores[1:], metrics=metrics or ("ap_dsb2018",))
    if json:
        emit_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        say(f"{path}: {path.stat().st_size / 1e6:.1f} MB, open it in a browser")
