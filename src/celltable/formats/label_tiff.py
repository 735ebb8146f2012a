"""Label maps as TIFF: one file per image, 0 is background, every other value is a cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from celltable.cells import Image, Sample
from celltable.notation.names import to_name
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import POLICY, flatten
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek, label_maps, named

from ._labels import read_label_maps, smallest
from ._out import new_folder
from ._pixels import encode_tiff, write_bytes

KEEPS: Final = frozenset({"holes", "components", "ids", "exact-mask", "image-size", "empty-images"})
COMPRESSIONS: Final = ("zlib", "lzw", "zstd", "none")


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    policy: str = "last-wins",
    compression: str = "zlib",
    bits: int = 0,
    overwrite: bool = False,
) -> ConversionReport:
    """Write ``<id>.tif`` per image: 16-bit if the ids fit, 32-bit otherwise, or always `bits` wide.

    Parameters
    ----------
    policy
        Which cell keeps a pixel that several cells claim (see `celltable.geometry.masks.Masks.flatten`).
    compression
        A TIFF compression supported by tifffile: zlib, lzw, zstd, none, ….
    bits
        16 or 32; 0 for what the ids of each image need.
    """
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            labels = smallest(flatten(report, sample, KEEPS, policy), (np.uint16, np.uint32), bits)
            write_bytes(folder / f"{to_name(sample.image.image_id)}.tif", encode_tiff(labels, compression))
            report.written["files"] += 1
    return report


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read the label maps of a folder or zip, or one file; the ids of the cells are the labels."""
    return read_label_maps(path, images or {}, (".tif", ".tiff"))


def recognise(peek: Peek) -> Recognition | None:
    """Recognise TIFF files that are all label maps."""
    labels = named(peek.names, ".tif", ".tiff")
    judged = label_maps(peek, labels)
    if labels and judged is not False:
        return Recognition(Strength.CONTENT, "TIFF files whose pixels are cell ids" if judged else "empty TIFF files")
    return None


FORMAT = Format(
    name="label-tiff",
    title="Label maps, TIFF",
    description=(
        "One compressed 16- or 32-bit TIFF per image; 0 is background and every other value is a cell. ImageJ, napari, "
        "CellProfiler and most segmentation tools read and write it."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(
        POLICY,
        Option("compression", "zlib", "TIFF compression", choices=COMPRESSIONS),
        Option("bits", 0, "bits of a label; 0: what the ids need", choices=(0, 16, 32)),
    ),
)
