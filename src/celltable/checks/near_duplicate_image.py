"""Near-duplicate images: the same field of view brighter, scaled, re-compressed, or a moment later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from celltable.cells import Finding, Image, Sample
from celltable.checks._images import Place, place, twin
from celltable.geometry.fingerprint import NEAR_BITS, near_pairs, perceptual_hash
from celltable.plugins import Option
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, painted


def gather(sample: Sample) -> tuple[Place, int]:
    """Return the image's place and its perceptual hash."""
    return place(sample), perceptual_hash(sample.pixels())


def find(
    features: Sequence[tuple[Place, int]], dataset: Mapping[str, Any], *, max_bits: int = NEAR_BITS
) -> Iterator[Finding]:
    """Yield one finding at the later image of each near-duplicate pair, naming the nearest earlier one."""
    nearest: dict[int, tuple[int, int]] = {}
    for i, j, bits in near_pairs([h for _, h in features], max_bits):
        nearest[j] = min(nearest.get(j, (65, 0)), (bits, i))
    for later, (bits, first) in sorted(nearest.items()):
        what = f"looks like ({bits} of 64 bits differ)"
        yield twin("near-duplicate-image", features[first][0], features[later][0], what, float(bits), "note")


def example() -> CheckExample:
    """Return three images; the third is a darker copy of the first."""
    rng = np.random.default_rng(0)
    first, second = (np.kron(rng.integers(0, 255, (8, 8)), np.ones((4, 4))).astype(np.uint8) for _ in range(2))
    samples = [
        replace(painted([], (32, 32), image=Image(name, 32, 32)), load_pixels=partial(np.asarray, pixels))
        for name, pixels in zip("abc", (first, second, first // 2), strict=True)
    ]
    return CheckExample.of(*samples, at=[("c", None)])


CHECK = Check(
    rule="near-duplicate-image",
    title="Near-duplicate image",
    description=(
        "Two images whose 64-bit perceptual hashes are nearly equal: the same field of view twice, a later frame, or a "
        "copy in another data set. A note; an error if they are in different splits. Value: differing bits (0 to 64)."
    ),
    find=find,
    severity="note",
    scope="dataset",
    gather=gather,
    needs_pixels=True,
    options=(Option("max_bits", NEAR_BITS, "number of bits of the 64-bit hash that may differ", low=0, high=64),),
    example=example,
)
