"""The training layout of Cellpose: images, each with a label map named ``…_masks`` beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from celltable.cells import Image, Sample
from celltable.notation.names import to_name
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import POLICY, flatten
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek, label_maps

from ._files import open_files
from ._labels import read_pairs, to_16_bit
from ._out import new_folder
from ._pixels import encode, encode_png, encode_tiff, write_bytes

KEEPS: Final = frozenset({"holes", "components", "ids", "exact-mask", "image-size", "empty-images", "pixels"})
_FILE = re.compile(r"^(?:.*/)?([^/]+?)(_masks|_cp_masks)?\.(?:png|tiff?)$", re.IGNORECASE)
_CLASHES = ("_masks", "_flows", "_seg", "_outlines")  # endings that Cellpose takes to be its own results


def write(
    samples: Iterable[Sample], out: Path, *, masks: str = "png", policy: str = "last-wins", overwrite: bool = False
) -> ConversionReport:
    """Write ``<id>.png`` (``.tif`` if PNG cannot hold the pixels) and ``<id>_masks.png`` or ``.tif``."""
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            name = _name(sample.image.image_id)
            if sample.load_pixels is not None:
                data, ending = encode(sample.pixels())
                write_bytes(folder / f"{name}{ending}", data)
                report.written["files"] += 1
            labels = to_16_bit(report, flatten(report, sample, KEEPS, policy))
            data = encode_png(labels) if masks == "png" else encode_tiff(labels)
            write_bytes(folder / f"{name}_masks.{masks}", data)
            report.written["files"] += 1
    return report


def _name(image_id: str) -> str:
    name = to_name(image_id)
    return f"{name[:-1]}%{ord(name[-1]):02X}" if name.endswith(_CLASHES) else name


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read such a folder, or a zip of it; ``_seg.npy`` files are pickles and are never opened."""
    with open_files(path) as files:
        labels: dict[str, str] = {}
        pictures: dict[str, str] = {}
        for member in files.names:
            if hit := _FILE.match(member):
                (labels if hit[2] else pictures)[hit[1]] = member
        files.expect(labels, "images with *_masks.png or *_masks.tif beside them")
        pictures = {n: m for n, m in pictures.items() if not n.endswith(_CLASHES)}
        yield from read_pairs(files, labels, pictures, images or {})


def recognise(peek: Peek) -> Recognition | None:
    """Recognise label maps named ``<image>_masks.png`` or ``.tif``."""
    labels = [hit[0] for hit in peek.matches(_FILE) if hit[2]]
    if not labels or peek.is_file or label_maps(peek, labels) is False:
        return None
    return Recognition(Strength.SIGNATURE, "label maps named <image>_masks.png or .tif")


FORMAT = Format(
    name="cellpose",
    title="Cellpose training folder",
    description=(
        "Images with label maps named <image>_masks.png or .tif beside them "
        "(https://cellpose.readthedocs.io/en/latest/train.html). The pickled _seg.npy is neither read nor written."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(
        Option("masks", "png", "file format of the label maps", choices=("png", "tif")),
        POLICY,
    ),
)
