"""Score predictions against ground truth, whatever either comes as, and compare two models on the same images."""

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
        Both stores or paths (a store, COCO instances or results JSON, a submission CSV, a folder of label images,
        PanNuke's masks.npy), or both arrays or .npy files of them (a label map, a list of them one an image, or a
        PanNuke stack).
    metrics
        Names such as "ap_dsb2018", or "all": all that apply, and why the others do not.
    mode
        "corrected", or "strict": the official code bit for bit.
    classes, scores, class_names
        With arrays: see `celltable.metrics`: classes is (of the ground truth, of the predictions).
    gt_format, pred_format
        Format of a path; recognised from the content unless given.
    where
        SQL condition on the images of a ground-truth store, for example ``split = 'test'``.
    kind
        "nucleus" or "cell": only those, where a store has both.
    missing
        An image without predictions, or with a file that cannot be read: "error", or "empty" (scored as if nothing was
        found; counted aloud).
    unknown
        Predictions for images that the ground truth does not have: "error" or "ignore" (counted aloud).
    by
        Columns to break scores down by: any of the images, "density", and of the cells "size" and "class".
    partial
        Partially annotated images: "skip" them in metrics that count false positives, or "score" them.
    options
        Options of metrics: option → value, or metric → {option: value}.
    workers, how, scheduler
        How many count the images (None: one per core), and where; see `celltable.work.Runner`. The result is the same.
    rounds, seed, size_edges
        Of the bootstrap intervals; edges in px² of the groups of "size".
    write
        Write the scores into the store of predictions (its table `scores`).
    progress
        Draw a progress bar on a terminal.

    Raises
    ------
    MetricError, NotFoundError, InputError
        If the two sides do not fit together or a metric does not apply; the message says what to do.

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
        raise InputError(f"{truth.name} has no cell of the kind '{kind}', so there is nothing to score against")
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
    """Which of two models is better, by how much, and how sure that is: a paired bootstrap over images.

    Further arguments are those of `evaluate`. Unless `names` says otherwise the two
    are called by their file names, with as much of the folders before them as tells them apart.
    """
    bad = {"write", "classes", "scores"} & set(how)
    if bad:
        raise InputError(f"compare does not take {', '.join(sorted(bad))}; evaluate each model on its own for that")
    by = (by,) if isinstance(by, str) else tuple(by)
    a, b = (evaluate(gt, pred, metrics, by=by, rounds=0, **how) for pred in (pred_a, pred_b))
    return compare_scores(a, b, names=names or distinct_names(pred_a, pred_b), by=by, rounds=rounds, seed=seed)


def scores_table(scores: Scores, predictions: str | None = None) -> pa.Table:
    """The scores as rows of the scores table of a store."""
    import pyarrow as pa

    return pa.Table.from_pylist(scores.rows(predictions), schema=schema.SCORES)


def _is_npy(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and Path(value).suffix.lower() == ".npy" and Path(value).is_file()


def _loaded(path: Path) -> Any:
    """The array of an .npy file, mapped and not read."""
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as exc:
        raise InputError(f"{path}: {exc}; expected an .npy of label maps: (rows, columns), or a stack of them") from exc


def _given(given: Any, source: Source) -> Any:
    """Return the store that a source reads, or the path that was given."""
    return source.store if isinstance(source, StoreSource) else given


def _write(found: Source, scores: Scores, run: Mapping[str, Any]) -> None:
    if not isinstance(found, StoreSource):
        raise InputError(f"{found.name} is not a store, so scores cannot be written into it; use write=False")
    write_scores(found.store, run, scores)
