"""Images with identical pixels under two ids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Sample
from celltable.checks._images import Place, first_of_each, place, twin
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn


def gather(sample: Sample) -> tuple[Place, bytes | None]:
    """Return the image's place and a digest of its pixels; None for a constant image (see blank-image)."""
    pixels = sample.pixels()
    if _constant(pixels[..., :3] if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels):
        return place(sample), None
    digest = hashlib.blake2b(repr((pixels.shape, pixels.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    return place(sample), digest.digest()


def _constant(pixels: NDArray[Any]) -> bool:
    few = pixels[::16, ::16]
    return pixels.size == 0 or (few.min() == few.max() and bool(pixels.min() == pixels.max()))


def find(features: Sequence[tuple[Place, bytes | None]], dataset: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield one finding at the second and every later image with the same pixels."""
    for first, later in first_of_each([digest for _, digest in features]):
        yield twin("duplicate-image", features[first][0], features[later][0], "the same pixels as", 0.0, "warning")


def example() -> CheckExample:
    """Return three images; a and c have the same pixels."""
    images = [Image(name, 1, 4) for name in "abc"]
    return CheckExample.of(
        drawn("11..", image=images[0]), drawn(".22.", image=images[1]), drawn("11..", image=images[2]), at=[("c", None)]
    )


CHECK = Check(
    rule="duplicate-image",
    title="Duplicate image",
    description=(
        "The same pixels under two ids, within a data set or across merged ones: they count twice, and leak if they "
        "are in different splits (then an error). Value: 0 (differing bits)."
    ),
    find=find,
    scope="dataset",
    gather=gather,
    needs_pixels=True,
    example=example,
)
