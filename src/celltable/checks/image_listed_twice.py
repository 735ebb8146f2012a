"""Images that read the same file of the release under two ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from celltable.cells import Finding, Image, Pixels, Sample
from celltable.checks._images import Place, first_of_each, place, twin
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn

Feature = tuple[Place, tuple[Pixels, ...] | None]


def gather(sample: Sample) -> Feature:
    """Return the image's place, and where its pixels are stored."""
    return place(sample), sample.image.pixels or None


def find(features: Sequence[Feature], dataset: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield one finding at the second and every later image that reads the same file."""
    for first, later in first_of_each([pixels for _, pixels in features]):
        yield twin("image-listed-twice", features[first][0], features[later][0], "the same file as", 0.0, "warning")


def example() -> CheckExample:
    """Return three images; a and c read the file 1.png."""
    images = [Image(name, 1, 4, pixels=(Pixels("zip", file),)) for name, file in zip("abc", "121", strict=True)]
    return CheckExample.of(*(drawn("11..", image=image) for image in images), at=[("c", None)])


CHECK = Check(
    rule="image-listed-twice",
    title="Image listed twice",
    description=(
        "Two image ids that refer to the same file (LIVECell lists 118 images twice), often with the annotations "
        "divided between them or repeated. An error if they are in different splits. Value: 0."
    ),
    find=find,
    scope="dataset",
    gather=gather,
    example=example,
)
