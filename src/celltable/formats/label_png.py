"""Label maps as 16-bit PNG: one file per image, 0 is background, every other value is a cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from celltable.cells import Image, Sample
from celltable.notation.names import to_name
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import POLICY, flatten
from celltable.plugins.peek import Peek, label_maps, named

from ._labels import read_label_maps, to_16_bit
from ._out import new_folder
from ._pixels import encode_png, write_bytes

KEEPS: Final = frozenset({"holes", "components", "ids", "exact-mask", "image-size", "empty-images"})


def write(
    samples: Iterable[Sample], out: Path, *, policy: str = "last-wins", overwrite: bool = False
) -> ConversionReport:
    """Write ``<id>.png`` per image, always 16-bit, since in 8 bits the 256th cell would become background."""
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            labels = to_16_bit(report, flatten(report, sample, KEEPS, policy))
            write_bytes(folder / f"{to_name(sample.image.image_id)}.png", encode_png(labels))
            report.written["files"] += 1
    return report


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read the label maps of a folder or zip, or one file; the ids of the cells are the labels."""
    return read_label_maps(path, images or {}, (".png",))


def recognise(peek: Peek) -> Recognition | None:
    """Recognise PNG files that are all label maps."""
    labels = named(peek.names, ".png")
    judged = label_maps(peek, labels)
    if labels and judged is not False:
        return Recognition(Strength.CONTENT, "PNG files whose pixels are cell ids" if judged else "empty PNG files")
    return None


FORMAT = Format(
    name="label-png",
    title="Label maps, PNG",
    description="One 16-bit grey PNG per image; 0 is background and every other value is a cell.",
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(POLICY,),
)
