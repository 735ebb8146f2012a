"""Images without content."""

from __future__ import annotations

from collections.abc import Iterator

from celltable.cells import Finding, Image, Sample
from celltable.plugins.check import Check
from celltable.plugins.example import CheckExample, drawn, painted


def find(sample: Sample) -> Iterator[Finding]:
    """Yield a finding if all pixels and channels (except opacity) have the same value."""
    pixels = sample.pixels()
    shown = pixels[..., :3] if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels
    few = shown[::16, ::16]  # enough to see that most images are not blank
    if shown.size == 0 or few.min() != few.max():
        return
    low, high = shown.min(), shown.max()
    if low == high:
        text = f"every pixel has the value {low}"
        yield Finding("blank-image", text, "warning", sample.image.image_id, None, float(low))


def example() -> CheckExample:
    """Return two images, one of them blank."""
    blank = painted([], (8, 8), image=Image("blank", 8, 8))
    return CheckExample.of(drawn("11..", "..2."), blank, at=[("blank", None)])


CHECK = Check(
    rule="blank-image",
    title="Blank image",
    description="All pixels have the same value: there is nothing to see or segment. Value: that grey value.",
    find=find,
    needs_pixels=True,
    example=example,
)
