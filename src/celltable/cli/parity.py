"""``celltable parity``: proof that this installation's numbers are the official ones."""

from __future__ import annotations

import typer

from ._output import Json, emit_json, say


def parity(json: Json = False) -> None:
    """Run the shipped reference vectors and print, for each protocol, the largest difference to its reference.

    The vectors were made with the reference packages themselves. Exit status 1 where one differs by more than allowed.

    Example: celltable parity
    """
    from celltable.pipelines.evaluate import parity as run

    found = run()
    emit_json(found.to_dict()) if json else say(str(found))
    raise typer.Exit(int(not found.ok))
