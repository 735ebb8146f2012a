"""List the releases that celltable reads, with what is needed to obtain and cite each."""

from __future__ import annotations

from typing import Any

from celltable import plugins
from celltable.plugins.dataset import Dataset


def list_datasets() -> tuple[str, ...]:
    """Return the names of all readable data sets."""
    return plugins.names("datasets")


def row(reader: Dataset) -> dict[str, Any]:
    """Describe one data set as plain values."""
    return {
        "name": reader.name,
        "title": reader.title,
        "description": reader.description,
        "modality": list(reader.modality),
        "target": list(reader.target),
        "classes": list(reader.classes),
        "images": total(reader, "images"),
        "instances": total(reader, "instances"),
        "licence": reader.licence,
        "non_commercial": reader.non_commercial,
        "access": reader.access,
        "source": reader.source,
        "how_to_get": reader.how_to_get,
        "citation": reader.citation,
        "doi": reader.doi,
        "leakage_group": reader.group,
        "parts": list(reader.parts),
        "splits": {name: dict(rule) for name, rule in reader.splits.items()},
        "protocols": list(reader.protocols),
        "layout": reader.layout,
        "files": [{"name": f.name, "url": f.url, "size": f.size, "sha256": f.sha256} for f in reader.files],
        "published_counts": [[part, what, n] for (part, what), n in reader.counts.items()],
    }


def total(reader: Dataset, what: str) -> int | None:
    """Return the published number of images or instances over all parts; None if none was published."""
    whole = reader.counts.get(("", what))
    if whole is not None:
        return whole
    parts = [n for (_, kind), n in reader.counts.items() if kind == what]
    return sum(parts) if parts else None
