"""Counts of images or cells that differ from the published ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from celltable.cells import Finding, Image, Sample
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn


class Feature(NamedTuple):
    """What one image contributes to the counts."""

    image_id: str
    part: str | None
    split: str | None
    cells: int
    annotated: bool
    stated: float | None


def gather(sample: Sample) -> Feature:
    """Return the image's part, number of cells and published count."""
    image = sample.image
    part = image.metadata.get("part")
    return Feature(image.image_id, part, image.split, len(sample.instances), image.annotated, image.count)


def find(features: Sequence[Feature], dataset: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield findings about the release (images and instances per part) and about images with a published count."""
    for part, what, published in dataset.get("published_counts") or ():
        chosen = _of_part(features, part, dataset)
        if not chosen or what not in ("images", "instances"):
            continue
        counted = len(chosen) if what == "images" else sum(f.cells for f in chosen)
        if counted != published:
            label = f" of {part}" if part else ""
            text = f"{counted:,} {what}{label} where {published:,} are published"
            yield Finding("count-differs", text, "note", None, None, float(counted - published))
    for f in features:
        if f.stated is not None and f.annotated and f.cells and f.cells != f.stated:
            text = f"{f.cells:,} cells are annotated where a count of {f.stated:g} is published"
            yield Finding("count-differs", text, "warning", f.image_id, None, f.cells - f.stated)


def _of_part(features: Sequence[Feature], part: str, dataset: Mapping[str, Any]) -> list[Feature]:
    """Return the images that a published count is about; none if that part was not read."""
    by_part = [f for f in features if f.part == part]
    if by_part:
        return by_part
    by_split = [f for f in features if f.split == part and f.part is None]
    if by_split:
        return by_split
    named = {entry[0] for entry in dataset.get("published_counts") or ()}
    read = (dataset.get("reader") or {}).get("parts") or []
    whole = not part or part == "all" or named == {part} or read == [part]
    return list(features) if whole else []


def example() -> CheckExample:
    """Return two images where three are published; one has two cells where the release counts five."""
    whole = drawn("11.2", image=Image("b", 1, 4, count=5.0))
    return CheckExample.of(
        drawn("1..2"), whole, at=[(None, None), ("b", None)], dataset={"published_counts": [["", "images", 3]]}
    )


CHECK = Check(
    rule="count-differs",
    title="Count differs from the published one",
    description=(
        "More or fewer images or cells than the release's page or paper states (a note about the release), or than the "
        "count published for an image. Value: found minus published."
    ),
    find=find,
    severity="note",
    scope="dataset",
    gather=gather,
    example=example,
)
