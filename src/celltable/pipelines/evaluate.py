"""Score predictions against ground truth in any form, and compare two models on the same images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from celltable import schema, work
from celltable.errors import InputError
from celltable.plugins.metric import Mode
from celltable.scoring.arrays import is_array, pairs_from_arrays
from celltable.scoring.breakdown import SIZE_EDGES
from celltable.scoring.compare import Comparison, compare_scores, distinct_names
from celltable.scoring.counting import Partial
from celltable.scoring.engine import ROUNDS, evaluate_pairs
from celltable.scoring.joined import Missing, Unknown, paired
from celltable.scoring.parity import Parity, parity
from celltable.scoring.scores import Score, Scores
from celltable.scoring.sources import PANNUKE_MASKS, Source, StoreSource, source_of

from ._runs import run_row, write_scores

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Comparison", "Parity", "Score", "Scores", "compare", "evaluate", "parity", "scores_table"]


def evaluate(
    gt: Any,
    pred: Any,
    metrics: str | Sequence[str] = "all",
    *,
    mode: Mode = "corrected",
    classes: tuple[Any, Any] | None = None,
    scores: Any = None,
    class_names: Sequence[str] = (),
    gt_format: str | None = None,
    pred_format: str | None = None,
    where: str | None = None,
    kind: str | None = None,
    missing: Missing = "error",
    unknown: Unknown = "error",
    by: Sequence[str] = (),
    partial: Partial = "skip",
    options: Mapping[str, Any] | None = None,
    workers: int | None = 1,
    how: work.How = "threads",
    scheduler: str | None = None,
    rounds: int = ROUNDS,
    seed: int = 0,
    size_edges: Sequence[float] = SIZE_EDGES,
    write: bool = False,
    progress: bool = False,
) -> Scores:
    """Score predictions with published metrics.

    Parameters
    ----------
    gt, pred
        Two stores or paths (a store, COCO instances or results JSON, a submission CSV, a folder of label images,
        PanNuke's masks.npy), or two arrays or .npy files (a label map, a list of label maps with one per image, or
        a PanNuke stack).
    metrics
        Names such as "ap_dsb2018", or "all" for all that apply, with the reason why the others do not.
    mode
        "corrected", or "strict": the official code bit for bit.
    classes, scores, class_names
        For arrays only, see `celltable.metrics`; `classes` is a pair (ground truth, predictions).
    gt_format, pred_format
        Format of a path; detected from the content if not given.
    where
        SQL condition on the images of a ground-truth store, for example ``split = 'test'``.
    kind
        "nucleus" or "cell" to score only those, if a store has both.
    missing
        Images whose predictions are missing or cannot be read: "error", or "empty" (scored as if nothing was predicted,
        and counted in a remark).
    unknown
        Predictions for images that the ground truth does not have: "error", or "ignore" (counted in a remark).
    by
        Columns to break scores down by: any column of the images, "density", or, for cells, "size" and "class".
    partial
        Partially annotated images: "skip" them in metrics that count false positives, or "score" them.
    options
        Metric options: option → value, or metric → {option: value}.
    workers, how, scheduler
        Number of workers that count the images (None: one per core), and where they run; see `celltable.work.Runner`.
        The result is the same.
    rounds, seed, size_edges
        Rounds and seed of the bootstrap intervals; edges in px² of the "size" groups.
    write
        Write the scores into the store of predictions (its table `scores`).
    progress
        Draw a progress bar on a terminal.

    Raises
    ------
    MetricError, NotFoundError, InputError
        If the two sides do not match or a metric does not apply; the message says what to do.

    >>> import numpy as np
    >>> gt = np.array([[1, 1, 1, 0, 2, 2]]); pred = np.array([[1, 1, 0, 0, 5, 5]])
    >>> evaluate(gt, pred, ["pq_hovernet"])["pq_hovernet"].fields["dq"]
    1.0
    """
    for name, value, words_of in (
        ("missing", missing, Missing),
        ("unknown", unknown, Unknown),
        ("partial", partial, Partial),
    ):
        if value not in get_args(words_of):
            raise InputError(f"{name} is {value!r}; expected {' or '.join(map(repr, get_args(words_of)))}")
    by = (by,) if isinstance(by, str) else tuple(by)
    settings: dict[str, Any] = {"mode": mode, "by": by, "partial": partial, "options": options}
    settings.update(workers=workers, how=how, scheduler=scheduler)
    settings.update(rounds=rounds, seed=seed, size_edges=size_edges, progress="evaluate" if progress else None)
    if _is_npy(gt) and _is_npy(pred) and {Path(gt).name, Path(pred).name} != {PANNUKE_MASKS}:
        gt, pred = _loaded(Path(gt)), _loaded(Path(pred))
    if is_array(gt) or is_array(pred):
        if not (is_array(gt) and is_array(pred)):
            raise InputError(
                f"one side is an array and the other {type(pred if is_array(gt) else gt).__name__}; expected two "
                "arrays, or two stores or paths"
            )
        if write:
            raise InputError("arrays have no store to write scores into; use write=False")
        pairs = pairs_from_arrays(gt, pred, classes=classes, scores=scores, class_names=class_names)
        return evaluate_pairs(pairs, metrics, **settings)
    if kind not in (None, "nucleus", "cell"):
        raise InputError(f"kind is {kind!r}; expected 'nucleus' or 'cell'")
    truth = source_of(gt, where=where, kind=kind, form=gt_format)
    if isinstance(truth, StoreSource) and kind not in (None, *truth.kinds):
        raise InputError(f"{truth.name} has no cells of kind '{kind}', so there is nothing to score against")
    found = source_of(pred, images=truth.images, kind=kind, form=pred_format)
    pairs_of, notes = paired(truth, found, missing, unknown, class_names)
    made = evaluate_pairs(pairs_of, metrics, notes=notes, **settings)
    if write:
        _write(found, made, run_row(_given(gt, truth), _given(pred, found), {
            "where": where, "kind": kind, "mode": mode, "rounds": rounds, "seed": seed, "options": dict(options or {}),
            "missing": missing, "unknown": unknown, "partial": partial, "class_names": list(class_names),
            "size_edges": list(size_edges),
        }))  # fmt: skip
    return made


def compare(
    gt: Any,
    pred_a: Any,
    pred_b: Any,
    metrics: str | Sequence[str] = "all",
    *,
    names: tuple[str, str] | None = None,
    by: Sequence[str] = (),
    rounds: int = ROUNDS,
    seed: int = 0,
    **how: Any,
) -> Comparison:
    """Compare two models by a paired bootstrap over images: which is better, by how much, with what certainty.

    The other arguments are those of `evaluate`. Unless `names` is given, the two
    are called by their file names, with as many parent folders as it takes to tell them apart.
    """
    bad = {"write", "classes", "scores"} & set(how)
    if bad:
        raise InputError(f"compare does not take {', '.join(sorted(bad))}; evaluate each model on its own for that")
    by = (by,) if isinstance(by, str) else tuple(by)
    a, b = (evaluate(gt, pred, metrics, by=by, rounds=0, **how) for pred in (pred_a, pred_b))
    return compare_scores(a, b, names=names or distinct_names(pred_a, pred_b), by=by, rounds=rounds, seed=seed)


def scores_table(scores: Scores, predictions: str | None = None) -> pa.Table:
    """Convert the scores to rows of a store's scores table."""
    import pyarrow as pa

    return pa.Table.from_pylist(scores.rows(predictions), schema=schema.SCORES)


def _is_npy(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and Path(value).suffix.lower() == ".npy" and Path(value).is_file()


def _loaded(path: Path) -> Any:
    """Memory-map the array of an .npy file."""
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as exc:
        raise InputError(f"{path}: {exc}; expected an .npy of label maps: (rows, columns), or a stack of them") from exc


def _given(given: Any, source: Source) -> Any:
    """Return the store behind a source, or the given path."""
    return source.store if isinstance(source, StoreSource) else given


def _write(found: Source, scores: Scores, run: Mapping[str, Any]) -> None:
    if not isinstance(found, StoreSource):
        raise InputError(f"{found.name} is not a store, so scores cannot be written into it; use write=False")
    write_scores(found.store, run, scores)
