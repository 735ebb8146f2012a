"""``celltable compare``: which of two models is better, by how much, and with what certainty."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._output import How, Json, Scheduler, Seed, Workers, emit_json, say
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


def compare(
    gt: Annotated[Path, typer.Argument(metavar="GT", help="Ground truth, as for evaluate.")],
    pred_a: Annotated[Path, typer.Argument(metavar="PRED_A", help="Predictions of one model.")],
    pred_b: Annotated[Path, typer.Argument(metavar="PRED_B", help="Predictions of the other.")],
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
    seed: Seed = 0,
    workers: Workers = None,
    how: How = "threads",
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Compare two models on the same images by a paired bootstrap, over all images and per group.

    Example: celltable compare dsb.celltable a.celltable b.celltable --metrics ap_dsb2018 --by modality
    """
    from celltable.pipelines.evaluate import compare as run
    from celltable.plugins.options import split_texts

    quiet()
    comparison = run(
        gt, pred_a, pred_b, names(metrics), by=by or (), rounds=rounds, seed=seed, gt_format=gt_format,
        pred_format=pred_format, where=where, kind=kind,
        workers=workers, how=how, scheduler=scheduler, mode="strict" if strict else "corrected",
        missing=checked(missing, ("error", "empty"), "--missing"),
        unknown=checked(unknown, ("error", "ignore"), "--unknown"),
        partial=checked(partial, ("skip", "score"), "--partial"), options=split_texts(option or ()),
    )  # fmt: skip
    emit_json(comparison.to_dict()) if json else say(str(comparison))
