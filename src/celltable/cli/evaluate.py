"""``celltable evaluate``: score predictions with the published protocols."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Annotated

import typer

from ._output import How, Json, Scheduler, Workers, emit_json, say
from ._scoring import (
    By,
    GtFormat,
    Kind,
    Metrics,
    Missing,
    Option,
    Partial,
    PredFormat,
    Rounds,
    Strict,
    Unknown,
    Where,
    checked,
    names,
    quiet,
)


def evaluate(
    gt: Annotated[Path, typer.Argument(metavar="GT", help="Ground truth: a store, COCO JSON, CSV, label images, npy.")],
    pred: Annotated[Path, typer.Argument(metavar="PRED", help="Predictions, in any of these forms.")],
    metrics: Metrics = None,
    strict: Strict = False,
    by: By = None,
    gt_format: GtFormat = None,
    pred_format: PredFormat = None,
    where: Where = None,
    kind: Kind = None,
    missing: Missing = "error",
    unknown: Unknown = "error",
    partial: Partial = "skip",
    rounds: Rounds = 1000,
    option: Option = None,
    cards: Annotated[bool, typer.Option("--cards", help="Print the protocol card of each metric.")] = False,
    write: Annotated[bool, typer.Option(help="Write the scores into the store of predictions.")] = True,
    workers: Workers = None,
    how: How = "threads",
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Score predictions; every number names its protocol and has a confidence interval, bootstrapped over images.

    Example: celltable evaluate dsb.celltable pred.celltable --metrics ap_dsb2018 --by modality
    """
    from celltable.pipelines.evaluate import evaluate as run
    from celltable.plugins.options import split_texts

    quiet()
    scores = run(
        gt, pred, names(metrics), mode="strict" if strict else "corrected", by=by or (), gt_format=gt_format,
        pred_format=pred_format, where=where, kind=kind,
        missing=checked(missing, ("error", "empty"), "--missing"),
        unknown=checked(unknown, ("error", "ignore"), "--unknown"),
        partial=checked(partial, ("skip", "score"), "--partial"), options=split_texts(option or ()), rounds=rounds,
        workers=workers, how=how, scheduler=scheduler,
        write=write and (pred / "dataset.json").exists(), progress=not json,
    )  # fmt: skip
    if json:
        emit_json(scores.to_dict())
        return
    say(str(scores))
    for name, score in scores.items() if cards else ():
        say(f"\n{name}")
        for key, value in score.card.to_dict().items():
            if value:
                say(fill(f"{key}: {value}", 100, initial_indent="  ", subsequent_indent="    "))
