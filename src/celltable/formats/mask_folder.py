"""The folder layout of the 2018 Data Science Bowl: one folder per image, one PNG mask per cell."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.geometry import rle
from celltable.notation.names import from_name, to_name
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import tally
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek, spread

from ._files import Files, image_of, open_files
from ._out import new_folder
from ._pixels import encode, encode_mask, write_bytes

KEEPS: Final = frozenset(
    {"overlap", "holes", "components", "ids", "exact-mask", "image-size", "empty-images", "pixels"}
)
_PARTS: Final = ("train", "valid", "val", "test")  # folders of semantic masks, not of one image
_MASK = re.compile(r"^(?:.*/)?([^/]+)/masks/([^/]+)\.(?:png|tiff?|bmp)$", re.IGNORECASE)
_IMAGE = re.compile(r"^(?:.*/)?([^/]+)/images/([^/]+)\.(?:png|tiff?|bmp|jpe?g)$", re.IGNORECASE)


def write(samples: Iterable[Sample], out: Path, *, names: str = "ids", overwrite: bool = False) -> ConversionReport:
    """Write ``<id>/images/<id>.png`` and one ``<id>/masks/<cell>.png`` (0 and 255) per cell.

    ``names="source"`` names masks by the cell's id in the release, if it has one, instead of its number.
    """
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            name, cells = to_name(sample.image.image_id), sample.instances
            nothing = sample.load_pixels is None and not len(cells)
            tally(report, sample, KEEPS - {"empty-images"} if nothing else KEEPS)
            if nothing:
                continue
            if sample.load_pixels is not None:
                data, ending = encode(sample.pixels())
                report.written["files"] += write_bytes(folder / name / "images" / f"{name}{ending}", data) > 0
            (folder / name / "masks").mkdir(parents=True, exist_ok=True)
            for stem, counts in zip(_stems(cells, names), cells.rle, strict=True):
                mask = rle.decode(counts, cells.size)
                data = encode_mask(mask.view(np.uint8) * np.uint8(255))
                report.written["files"] += write_bytes(folder / name / "masks" / f"{stem}.png", data) > 0
    return report


def _stems(cells: Instances, names: str) -> list[str]:
    numbers = [f"{i:05d}" for i in cells.ids.tolist()]
    if names != "source":
        return numbers
    own = [PurePosixPath(s or "").stem for s in cells.column("source_id")]
    return [to_name(s) for s in own] if all(own) and len(set(own)) == len(own) else numbers


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read a folder or zip of this layout; a mask that cannot be read becomes a finding and is left out.

    Masks named by numbers keep these as instance ids; others are numbered in the order of their names.
    """
    with open_files(path) as files:
        masks: dict[str, list[tuple[str, str]]] = defaultdict(list)
        pictures: dict[str, str] = {}
        for member in files.names:
            if found := _MASK.match(member):
                masks[found[1]].append((found[2], member))
            elif found := _IMAGE.match(member):
                pictures.setdefault(found[1], member)
        folders = set(masks) | set(pictures)
        files.expect(folders, "<id>/images/<id>.png and <id>/masks/*.png")
        for name in sorted(folders, key=from_name):
            yield _sample(files, from_name(name), pictures.get(name), masks[name], images or {})


def _sample(
    files: Files, image_id: str, picture: str | None, masks: list[tuple[str, str]], known: Mapping[str, Image]
) -> Sample:
    findings: list[Finding] = []
    stems, counts, sizes = [], [], []
    for (stem, _), found in zip(sorted(masks), _read([m for _, m in sorted(masks)], files), strict=True):
        if isinstance(found, str):
            findings.append(Finding("unreadable-mask", f"mask {stem}: {found}", "error", image_id))
            continue
        stems.append(stem)
        counts.append(found[0])
        sizes.append(found[1])
    image, load = image_of(files, image_id, picture, known, sizes[0] if sizes else None, findings)
    right = [k for k, size in enumerate(sizes) if size == image.size]
    for k in sorted(set(range(len(sizes))) - set(right)):
        message = f"mask {stems[k]} is {sizes[k][0]} × {sizes[k][1]}, its image {image.height} × {image.width}"
        findings.append(Finding("size-mismatch", message, "error", image_id))
    names = [stems[k] for k in right]
    cells = Instances.from_rle([counts[k] for k in right], image.size, instance_id=_ids(names), source_id=names)
    return Sample(image, cells, tuple(findings), load)


def _read(members: list[str], files: Files) -> list[tuple[bytes, tuple[int, int]] | str]:
    """Read the run lengths and size of each mask, or say what is wrong with its file."""
    if all(m.lower().endswith(".png") for m in members):
        batch = files.masks(members)
        wrong = dict(batch.errors)
        sizes = [(height, width) for height, width in batch.sizes.tolist()]
        return [wrong.get(k) or (batch.counts[k], size) for k, size in enumerate(sizes)]
    return [_read_one(m, files) for m in members]


def _read_one(member: str, files: Files) -> tuple[bytes, tuple[int, int]] | str:
    try:
        mask = files.pixels(member)
    except InputError as exc:
        return str(exc)
    plane = mask if mask.ndim == 2 else mask[..., : 3 if mask.shape[2] >= 3 else 1].max(axis=2)  # alpha does not count
    return rle.encode(plane > 0), (int(mask.shape[0]), int(mask.shape[1]))


def _ids(names: list[str]) -> list[int] | None:
    if not all(n.isdecimal() and n.isascii() and 0 < int(n) < 2**31 for n in names):
        return None
    numbers = [int(n) for n in names]
    return numbers if len(set(numbers)) == len(numbers) else None


def recognise(peek: Peek) -> Recognition | None:
    """Recognise a folder per image with masks/ of binary PNGs, and images/ with a picture named like the folder."""
    masks = [hit for hit in peek.matches(_MASK) if hit[1].lower() not in _PARTS]
    if masks and all(_binary(peek.picture(hit[0])) for hit in spread_matches(masks)):
        return Recognition(Strength.LAYOUT, "a folder per image with one binary mask per cell in masks/")
    return None


def spread_matches(masks: list[re.Match[str]]) -> list[re.Match[str]]:
    """Pick a few of the masks."""
    chosen = set(spread([hit[0] for hit in masks], 6))
    return [hit for hit in masks if hit[0] in chosen]


def _binary(mask: NDArray[Any] | None) -> bool:
    """Whether a mask has at most two values; True if it cannot be read."""
    if mask is None:
        return True
    plane = mask if mask.ndim == 2 else mask[..., 0]
    return bool(((plane == plane.min()) | (plane == plane.max())).all())


FORMAT = Format(
    name="mask-folder",
    title="Data Science Bowl 2018 folders",
    description=(
        "One folder per image with images/<id>.png and masks/*.png, one 8-bit mask (0 and 255) per cell, so that cells "
        "may overlap (https://data.broadinstitute.org/bbbc/BBBC038/)."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(
        Option(
            "names", "ids", "names of the mask files: numbers, or the names in the release", choices=("ids", "source")
        ),
    ),
)
