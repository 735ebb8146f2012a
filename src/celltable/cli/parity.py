"""``celltable parity``: prove that this installation reproduces the official scores."""

from __future__ import annotations

import typer

from ._output import Json, emit_json, say


def parity(json: Json = False) -> None:
    """Run the bundled reference vectors and print the largest difference from the reference for each protocol.

    The vectors were made with the reference packages themselves. The exit status is 1 if any difference is too large.

    Example: celltable parity
    """
    from celltable.pipelines.evaluate import parity as run

    outcome = run()
    emit_json(outcome.to_dict()) if json else say(str(outcome))
    raise typer.Exit(int(not outcome.ok))
