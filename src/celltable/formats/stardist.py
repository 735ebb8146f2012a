"""The training layout of StarDist: TIFFs of the same names in images/ and masks/, masks as label maps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from celltable.cells import Image, Sample
from celltable.notation.names import to_name
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import POLICY, flatten
from celltable.plugins.peek import Peek, label_maps

from ._files import open_files
from ._labels import read_pairs, to_16_bit
from ._out import new_folder
from ._pixels import encode_tiff, write_bytes

KEEPS: Final = frozenset({"holes", "components", "ids", "exact-mask", "image-size", "empty-images", "pixels"})
_FILE = re.compile(r"^(?:.*/)?(images|masks)/([^/]+)\.tiff?$", re.IGNORECASE)


def write(
    samples: Iterable[Sample], out: Path, *, policy: str = "last-wins", overwrite: bool = False
) -> ConversionReport:
    """Write ``images/<id>.tif`` (pixels unchanged) and ``masks/<id>.tif`` (16-bit label maps)."""
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            name = f"{to_name(sample.image.image_id)}.tif"
            if sample.load_pixels is not None:
                write_bytes(folder / "images" / name, encode_tiff(sample.pixels()))
                report.written["files"] += 1
            labels = to_16_bit(report, flatten(report, sample, KEEPS, policy))
            write_bytes(folder / "masks" / name, encode_tiff(labels))
            report.written["files"] += 1
    return report


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read a folder or zip of this layout."""
    with open_files(path) as files:
        found: dict[str, dict[str, str]] = {"images": {}, "masks": {}}
        for member in files.names:
            if hit := _FILE.match(member):
                found[hit[1].lower()][hit[2]] = member
        files.expect(found["masks"], "images/*.tif and masks/*.tif")
        yield from read_pairs(files, found["masks"], found["images"], images or {})


def recognise(peek: Peek) -> Recognition | None:
    """Recognise folders images and masks of TIFF files, where the masks are label maps."""
    masks = [hit[0] for hit in peek.matches(_FILE) if hit[1].lower() == "masks"]
    if masks and label_maps(peek, masks) is not False:
        return Recognition(Strength.LAYOUT, "label maps in a folder masks, beside a folder images")
    return None


FORMAT = Format(
    name="stardist",
    title="StarDist training folders",
    description=(
        "images/*.tif and masks/*.tif of the same names, masks as 16-bit label maps: the layout of StarDist's examples "
        "read (https://github.com/stardist/stardist#annotating-images)."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(POLICY,),
)
