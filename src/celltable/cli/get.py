"""``celltable get``: download a release from its publisher and verify it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ._output import Json, count, emit_json, say


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the data set; see `celltable datasets`.")],
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Folder for the files; NAME by default.")
    ] = None,
    accept: Annotated[bool, typer.Option("--accept-licence", help="Accept the licence without being asked.")] = False,
    json: Json = False,
) -> None:
    """Download a release from its publisher, resuming interrupted transfers, and verify it.

    If the publisher requires a login, the steps to take are printed instead.

    Example: celltable get bbbc039 bbbc039/
    """
    from celltable import plugins
    from celltable.pipelines.get import get as run

    reader = plugins.load("datasets", name)
    target = folder or Path(reader.name)
    if not accept and reader.access == "free" and reader.files and sys.stdin.isatty():
        terms = f"{reader.title}\nlicence: {reader.licence}\ncite: {reader.citation}\nDo you accept the licence?"
        accept = typer.confirm(terms)
    report, close = _bar()
    try:
        paths = run(name, target, accept=accept, report=report)
    finally:
        close()
    if json:
        emit_json({"files": [str(p) for p in paths]})
    else:
        known = sum(file.sha256 is not None for file in reader.files)
        kind = {0: "their lengths", len(paths): "their SHA-256"}.get(known, f"SHA-256 of {known:,}, lengths of all")
        say(f"{target}: {count(len(paths), 'file')}, verified by {kind}.")
        say(f"Next: celltable ingest {reader.name} {shlex.quote(str(target))} {reader.name}.celltable")


def _bar() -> tuple[Callable[..., None] | None, Callable[[], None]]:
    """Show a progress bar in bytes on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        return None, lambda: None
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns: tuple[Any, ...] = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, Any] = {}

    def report(file: Any, done: int, total: int | None) -> None:
        if file.name not in tasks:
            tasks[file.name] = bar.add_task(file.name, total=total)
            bar.start()
        bar.update(tasks[file.name], completed=done, total=total)

    return report, bar.stop
