"""``celltable predict``: segment the cells in a store's images with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import (
    How,
    Json,
    OptionalStore,
    Options,
    Overwrite,
    Scheduler,
    Workers,
    emit_json,
    named_store,
    option_table,
    say,
    table,
)

EXAMPLE = "celltable predict dsb.celltable --model otsu-watershed -o pred.celltable"


def predict(
    store: OptionalStore = None,
    out: Annotated[Path | None, typer.Option("--output", "-o", help="The store of predictions to write.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Name of the model.")] = "otsu-watershed",
    option: Options = None,
    list_models: Annotated[
        bool, typer.Option("--list", help="List the models and their options; STORE is not needed.")
    ] = False,
    workers: Workers = None,
    how: How = "threads",
    scheduler: Scheduler = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Run a model on the images of a store and write its predictions, with scores, to a new store.

    Example: celltable predict dsb.celltable --model otsu-watershed -o pred.celltable

    On other processes or machines: celltable predict dsb.celltable -o pred.celltable --how processes --workers 8
    """
    if list_models:
        _list(json)
        return
    from celltable.errors import InputError
    from celltable.pipelines.predict import predict as run
    from celltable.plugins.options import split_texts

    store = named_store(store, EXAMPLE)
    if out is None:
        raise InputError(f"expected --output, the store of predictions to write, for example: {EXAMPLE}")
    options = split_texts(option or ())
    pred = run(
        store,
        out,
        model=model,
        options=options,
        workers=workers,
        how=how,
        scheduler=scheduler,
        overwrite=overwrite,
        progress=not json,
    )
    cells = pred.columns("area").num_rows
    if json:
        emit_json({"store": str(out), "images": len(pred), "instances": cells, "model": model})
    else:
        say(f"{out}: {cells:,} cells in {len(pred):,} images by {model}. Next: celltable evaluate {store} {out}")


def _list(json: bool) -> None:
    from celltable import plugins

    models = plugins.load_all("models")
    if json:
        rows = [
            {
                "name": m.name,
                "title": m.title,
                "about": m.description,
                "options": [option.to_dict() for option in m.options],
            }
            for m in models.values()
        ]
        emit_json(rows)
        return
    say(table([[m.name, m.title] for m in models.values()], ("model", "what")))
    say("\noptions (celltable predict STORE --model MODEL -O OPTION=VALUE):")
    say(option_table({m.name: m.options for m in models.values()}, noun="model") or "  none")
