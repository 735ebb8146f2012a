"""Summarise a store: counts, sizes, modalities, classes, splits, licence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from celltable.store import Store, as_store

_BY_COLUMN = ("modality", "image_class", "tissue", "cell_type", "split", "dtype")


def summary(store: Store | str | Path) -> dict[str, Any]:
    """Return counts, distributions and licence terms of a store as plain values.

    Areas are in px², densities in cells per 10,000 px². Cells per image and density cover annotated images only: an
    unannotated image is not an empty one.
    """
    ds = as_store(store)
    images = ds.images.arrow
    flags = {n: np.array(images.column(n).to_pylist(), bool) for n in ("annotated", "exhaustive", "ignore")}
    annotated, counts = flags["annotated"], images.column("n_instances").to_numpy()
    areas = ds.number_counts("area")
    findings = list(zip(*(ds.findings.column(n).to_pylist() for n in ("rule", "stale")), strict=True))
    sizes = Counter(zip(images.column("height").to_pylist(), images.column("width").to_pylist(), strict=True))
    return {
        "store": str(ds.path),
        **{
            k: getattr(ds.description, k)
            for k in ("name", "title", "kind", "licence", "non_commercial", "citation", "doi", "source")
        },
        "model": model_of(ds),
        "images": images.num_rows,
        "instances": int(areas[1].sum()),
        "unlabelled_images": int((~annotated).sum()),
        "partially_annotated_images": int((~flags["exhaustive"]).sum()),
        "ignored_images": int(flags["ignore"].sum()),
        "empty_images": int((annotated & (counts == 0)).sum()),
        "leakage_groups": len(set(images.column("leakage_group").to_pylist()) - {None}),
        "cells_per_image": _spread(*np.unique(counts[annotated], return_counts=True)),
        "density": _spread(*np.unique(_density(images)[annotated], return_counts=True)),
        "area_px2": _spread(*areas),
        "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in sizes.most_common()],
        "kinds": ds.value_counts("kind"),
        "classes": ds.value_counts("class_name"),
        "labels": dict(
            Counter(label for row in images.column("labels").to_pylist() for label in row or ()).most_common()
        ),
        **{name: _values(images.column(name)) for name in _BY_COLUMN},
        "findings": _counted(rule for rule, is_stale in findings if is_stale is None),
        "stale_findings": sum(is_stale is not None for _, is_stale in findings),
        "edits": len(ds.edits),
        "history": list(ds.description.history),
        "sources": ds.info["sources"],
    }


def model_of(store: Store) -> str | None:
    """Name the model that made a store of predictions, if known."""
    model = store.description.model
    name = model.get("name") if isinstance(model, dict) else model
    return None if name is None else str(name)


def _density(images: Any) -> np.ndarray[Any, Any]:
    height, width = (images.column(name).to_numpy().astype(float) for name in ("height", "width"))
    cells: np.ndarray[Any, Any] = images.column("n_instances").to_numpy() / np.maximum(height * width, 1) * 1e4
    return cells


def _values(column: Any) -> dict[str, int]:
    """Count distinct values, most frequent first, without nulls."""
    return _counted(v for v in column.to_pylist() if v is not None)


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _spread(values: np.ndarray[Any, Any], counts: np.ndarray[Any, Any]) -> dict[str, float] | None:
    """Compute extremes, mean and percentiles (interpolated as in numpy.percentile) of values with counts."""
    if not len(values):
        return None
    ends = np.cumsum(counts)
    n = int(ends[-1])

    def percentile(q: float) -> float:
        place = q * (n - 1)
        below = int(place)
        low, high = values[np.searchsorted(ends, [below, min(below + 1, n - 1)], side="right")].tolist()
        return float(low + (high - low) * (place - below))

    low, median, high = (percentile(q) for q in (0.05, 0.5, 0.95))
    mean = float((values * counts).sum()) / n
    spread = {"min": values[0], "p5": low, "median": median, "mean": mean, "p95": high, "max": values[-1]}
    return {k: round(float(v), 3) for k, v in spread.items()}
