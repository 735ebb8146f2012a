"""Images without content."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Finding, Image, Sample
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn, painted


def find(sample: Sample) -> Iterator[Finding]:
    """One finding where every pixel (every channel, opacity aside) has the same value."""
    pixels = sample.pixels()
    shown = pixels[..., :3] if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels
    few = shown[::16, ::16]  # most images differ here already
    if shown.size == 0 or few.min() != few.max():
        return
    low, high = shown.min(), shown.max()
    if low == high:
        text = f"every pixel has the value {low}"
        yield Finding("blank-image", text, "warning", sample.image.image_id, None, float(low))


def example() -> CheckExample:
    """One of two images is all of one value."""
    blank = painted([], (8, 8), image=Image("blank", 8, 8))
    return CheckExample.of(drawn("11..", "..2."), blank, at=[("blank", None)])


CHECK = Check(
    rule="blank-image",
    title="Blank image",
    description="All pixels have one value: there is nothing to see or segment. Value: that grey value.",
    find=find,
    needs_pixels=True,
    example=example,
)
