"""``celltable predict``: outline every cell of a store's images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Options, Overwrite, StoreArgument, Workers, emit_json, pairs, say


def predict(
    store: StoreArgument,
    out: Annotated[Path, typer.Option("--output", "-o", help="The store of predictions to write.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Name of the model.")] = "otsu-watershed",
    option: Options = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Run a model over the images of a store; the predictions are a store of their own, with scores.

    Example: celltable predict dsb.celltable --model otsu-watershed -o pred.celltable
    """
    from celltable.pipelines.predict import predict as run

    pred = run(store, out, model=model, options=pairs(option), workers=workers, overwrite=overwrite, progress=not json)
    cells = pred.columns("area").num_rows
    if json:
        emit_json({"store": str(out), "images": len(pred), "instances": cells, "model": model})
    else:
        say(f"{out}: {cells:,} cells in {len(pred):,} images by {model}. Next: celltable evaluate {store} {out}")
