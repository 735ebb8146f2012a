"""Write one self-contained HTML page about a store, its findings and the scores of its predictions."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from celltable import plugins
from celltable.cells import Sample
from celltable.disk import plain_os_errors
from celltable.drawing.page import page
from celltable.plugins.section import Material, Section
from celltable.store import Store, as_store

from ._runs import current_scores, side
from .show import model_of, summary


def report(
    store: Store | str | Path,
    out: str | Path = "report.html",
    *,
    predictions: Store | str | Path | None = None,
    others: Sequence[Store | str | Path] = (),
    metrics: Sequence[str] = ("ap_dsb2018",),
) -> Path:
    """Write the report of a store to one HTML file that needs no network.

    Parameters
    ----------
    store
        A store or its path.
    out
        The file to write; it is written atomically.
    predictions
        A store of predictions; they are scored with `metrics` unless `evaluate` has already written their scores.
    others
        Other stores to compare with it, side by side.
    metrics
        Names of metrics; the first one ranks the best and worst images.
    """
    ds = as_store(store)
    pred = None if predictions is None else as_store(predictions)
    beside = [as_store(o) for o in others]
    rows, cards, notes = _scores(ds, pred, metrics)
    material = Material(
        summaries=[summary(ds), *map(summary, beside)],
        images=ds.images.arrow,
        instances=ds.columns("area", "class_name", "kind").arrow,
        findings=ds.findings.arrow,
        others=[(o.name, o.images.arrow, o.columns("area").arrow) for o in beside],
        sample=_sampled(ds),
        other_samples=[_sampled(o) for o in beside],
        predicted=None if pred is None else _fetch(pred),
        scores=rows,
        cards=cards,
        score_notes=notes,
        headline=metrics[0] if pred is not None and metrics else None,
    )
    sections: list[Section] = sorted(plugins.load_all("reports").values(), key=lambda s: s.order)
    made = [(s.name, s.title, s.render(material)) for s in sections]
    title = ds.description.title or ds.name
    subtitle = f"{len(ds):,} images, {material.instances.num_rows:,} cells"
    subtitle += f"; predictions: {model_of(pred) or pred.name}" if pred else ""
    subtitle += f"; beside {', '.join(name for name, _, _ in material.others)}" if material.others else ""
    target = Path(out)
    with plain_os_errors(target):
        partial = target.with_name(f".{target.name}.partial")
        partial.write_text(page(title, subtitle, [m for m in made if m[2]]), encoding="utf-8")
        os.replace(partial, target)
    return target


def _sampled(store: Store) -> Callable[[str], Sample]:
    return lambda image_id: store[image_id].sample


def _fetch(pred: Store) -> Any:
    def fetch(image_id: str) -> Sample | None:
        return pred[image_id].sample if image_id in pred else None

    return fetch


def _scores(
    ds: Store, pred: Store | None, metrics: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """Return score rows, protocol cards and remarks; stored scores of these cells are used, others are computed."""
    if pred is None:
        return [], {}, []
    from .evaluate import evaluate, scores_table

    rows, notes = current_scores(ds, pred)
    have = {row["metric"] for row in rows}
    missing = [m for m in metrics if m not in have]
    if missing:
        rows += scores_table(evaluate(ds, pred, metrics=missing), side(pred)[0]).to_pylist()
    used = dict.fromkeys(r["metric"] for r in rows)
    return rows, {m: plugins.load("metrics", m).card.to_dict() for m in used}, notes
