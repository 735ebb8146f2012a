"""What is in a store: counts, sizes, modalities, classes, splits, terms; one or several side by side."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from celltable.store import Store, open_store

_BY_COLUMN = ("modality", "image_class", "tissue", "cell_type", "split", "dtype")


def summary(store: Store | str | Path) -> dict[str, Any]:
    """Counts, distributions and terms of a store, as plain values.

    Areas are px², densities cells an image.
    """
    ds = store if isinstance(store, Store) else open_store(store)
    images = ds.images.arrow
    cells = ds.columns("area", "class_name", "kind", "crowd", "ignore").arrow
    sizes = Counter(zip(images.column("height").to_pylist(), images.column("width").to_pylist(), strict=True))
    return {
        "store": str(ds.path),
        **{
            k: ds.info.get(k)
            for k in ("name", "title", "kind", "licence", "non_commercial", "citation", "doi", "source")
        },
        "images": images.num_rows,
        "instances": cells.num_rows,
        "unlabelled_images": int(pc.sum(pc.invert(images.column("annotated"))).as_py() or 0),
        "partially_annotated_images": int(pc.sum(pc.invert(images.column("exhaustive"))).as_py() or 0),
        "ignored_images": int(pc.sum(images.column("ignore")).as_py() or 0),
        "empty_images": _empty(images),
        "leakage_groups": pc.count_distinct(images.column("leakage_group")).as_py(),
        "cells_per_image": _spread(images.column("n_instances").to_numpy()),
        "area_px2": _spread(cells.column("area").to_numpy()),
        "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in sizes.most_common()],
        "kinds": _values(cells.column("kind")),
        "classes": _values(cells.column("class_name")),
        "labels": dict(
            Counter(label for row in images.column("labels").to_pylist() for label in row or ()).most_common()
        ),
        **{name: _values(images.column(name)) for name in _BY_COLUMN},
        "findings": _values(ds.findings.column("rule")),
        "edits": len(ds.edits),
        "history": ds.info.get("history", []),
        "sources": ds.info.get("sources", {}),
    }


def _empty(images: Any) -> int:
    labelled = pc.and_(images.column("annotated"), pc.equal(images.column("n_instances"), 0))
    return int(pc.sum(labelled).as_py() or 0)


def _values(column: Any) -> dict[str, int]:
    """Distinct values with their counts, most frequent first; nulls are left out."""
    rows = pc.value_counts(column.drop_null()).to_pylist()
    return {r["values"]: r["counts"] for r in sorted(rows, key=lambda r: (-r["counts"], r["values"]))}


def _spread(values: np.ndarray[Any, Any]) -> dict[str, float] | None:
    if not len(values):
        return None
    low, median, high = np.percentile(values, [5, 50, 95]).tolist()
    found = {"min": values.min(), "p5": low, "median": median, "mean": values.mean(), "p95": high, "max": values.max()}
    return {k: round(float(v), 3) for k, v in found.items()}
