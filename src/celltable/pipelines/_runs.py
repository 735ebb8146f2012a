"""Identify an evaluation run, and write its scores into the store of predictions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from celltable import schema
from celltable.scoring.scores import Scores
from celltable.store import Store
from celltable.version import VERSION

Row = dict[str, Any]


def side(given: Store | str | Path) -> tuple[str, str, str]:
    """Return name, path and digest of what is scored: the content of a store, or SHA-256 over the bytes of files.

    The name is that of the folder or file without its ending, since predictions carry the name of their data set.
    """
    path = Path(given.path if isinstance(given, Store) else given).absolute()
    if isinstance(given, Store):
        return path.stem, str(path), given.content
    return path.stem, str(path), _digest(path)


def _digest(path: Path) -> str:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as source:
            part = hashlib.file_digest(source, "sha256").hexdigest()
        total.update(f"{'' if file is path else file.relative_to(path).as_posix()} {part}\n".encode())
    return total.hexdigest()[:16]


def run_row(gt: Store | str | Path, pred: Store | str | Path, how: Mapping[str, Any]) -> Row:
    """Describe an evaluation as a row of the runs table.

    `how` has where, kind, mode, rounds and seed; everything else in it is kept as options.
    """
    names = ("where", "kind", "mode", "rounds", "seed")
    options = {k: v for k, v in how.items() if k not in names and v not in (None, {}, ())}
    row: Row = {name: how.get(name) for name in names}
    row["options"] = json.dumps(options, sort_keys=True, default=str)
    for key, given in (("gt", gt), ("predictions", pred)):
        row[key], row[f"{key}_path"], row[f"{key}_digest"] = side(given)
    decides = [row[k] for k in (*names, "options", "gt_digest", "predictions_digest")]
    run_id = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:12]
    return {**row, "run_id": run_id, "celltable": VERSION, "time": datetime.now(UTC)}


def write_scores(store: Store, run: Mapping[str, Any], scores: Scores) -> Store:
    """Write the scores of a run into a store of predictions, replacing only those of the same run and metrics."""
    new = pa.Table.from_pylist(
        [{**row, "run_id": run["run_id"]} for row in scores.rows(run["predictions"])], schema=schema.SCORES
    )
    again = pa.array(list(scores), pa.string())

    def with_scores(old: pa.Table) -> pa.Table:
        of_run = pc.fill_null(pc.equal(old.column("run_id"), run["run_id"]), False)
        same = pc.and_(of_run, pc.is_in(old.column("metric"), again))
        return pa.concat_tables([old.filter(pc.invert(same)), new])

    def with_run(old: pa.Table) -> pa.Table:
        others = old.filter(pc.not_equal(old.column("run_id"), run["run_id"]))
        return pa.concat_tables([others, pa.Table.from_pylist([dict(run)], schema=schema.RUNS)])

    done = f"evaluate: {', '.join(scores)}" + (f", where {run['where']}" if run["where"] else "")
    return store.update({"scores": with_scores, "runs": with_run}, done=done)


def current_scores(gt: Store, pred: Store) -> tuple[list[Row], list[str]]:
    """Return the rows of each metric's newest run on the current cells of both sides, and remarks on other runs."""
    runs = {run["run_id"]: run for run in pred.runs.to_pylist()}
    present = {i for i, r in runs.items() if (r["gt_digest"], r["predictions_digest"]) == (gt.content, pred.content)}
    rows = pred.scores.to_pylist()
    newest: dict[str, str] = {}
    for row in rows:
        run, best = row["run_id"], newest.get(row["metric"])
        if run in present and (best is None or runs[run]["time"] >= runs[best]["time"]):
            newest[row["metric"]] = run
    kept = [row for row in rows if newest.get(row["metric"]) == row["run_id"]]
    notes = [
        f"{metric}: only images where {runs[run]['where']}" for metric, run in newest.items() if runs[run]["where"]
    ]
    other = sorted({row["metric"] for row in rows if row["run_id"] not in present})
    if other:
        notes.append(
            f"Scores of {', '.join(other)} that were written for another ground truth, or before annotations or "
            "predictions were changed, are not shown."
        )
    return kept, notes
