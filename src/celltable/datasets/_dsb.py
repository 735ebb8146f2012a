"""Read the folder layout of the 2018 Data Science Bowl: a folder per image, a mask per nucleus, or runs in a CSV."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import ArchiveError, ImageFileError
from celltable.geometry.look import image_class, look_at
from celltable.imagefile import Entry, MaskBatch, Release, image_info, read_pixels
from celltable.imagefile.container import stem
from celltable.notation.kaggle import Rows, sample_of
from celltable.rules import rule

from ._read import located, sample

rule(
    "alpha-varies",
    "Alpha channel that varies",
    "warning",
    "The alpha channel of an image should be constant; if it varies, parts of the image are transparent.",
    emitter="ingest dsb2018, ingest dsb2018_fixes",
)
rule(
    "csv-differs",
    "Masks that differ from the CSV",
    "warning",
    "The masks of an image and its rows in the CSV describe different nuclei. The masks were read.",
    emitter="ingest dsb2018, ingest dsb2018_fixes",
)
rule(
    "duplicate-copy",
    "Image in several places of the release",
    "note",
    "The same image id is in several folders or archives. The copy with the most files was read.",
    emitter="ingest dsb2018, ingest dsb2018_fixes",
)
rule(
    "part-guessed",
    "Guessed part of the release",
    "note",
    "No folder name says which part the images are; their masks decide.",
    emitter="ingest dsb2018, ingest dsb2018_fixes",
)
rule(
    "several-pictures",
    "Several pictures of one image",
    "warning",
    "The folder of an image holds more than one picture. The message says which was read.",
    emitter="ingest dsb2018, ingest dsb2018_fixes",
)

_PART: Final = re.compile(r"(?:^|/)(stage1_train|stage1_test|stage2_test)(?:_final)?(?=/)")
_ENDINGS: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_CHANNELS: Final = {
    1: ("grey",),
    2: ("grey", "alpha"),
    3: ("red", "green", "blue"),
    4: ("red", "green", "blue", "alpha"),
}
_PNG: Final = b"\x89PNG"
SPLITS: Final = {"stage1_train": "train", "stage1_test": "test", "stage2_test": "final-test"}


class Item(NamedTuple):
    """An image: its part, its picture, and its masks in name order."""

    image_id: str
    part: str
    picture: Entry | None
    masks: tuple[Entry, ...] = ()


@dataclass(slots=True)
class _Folder:
    """The files of one image in one source."""

    pictures: list[Entry]
    masks: list[Entry]


def find_images(release: Release, parts: Sequence[str]) -> tuple[list[Item], list[Finding]]:
    """List the images of some parts in id order, with findings about the release as a whole."""
    folders = _folders(release)
    findings: list[Finding] = []
    named = _named_parts(folders, findings)
    items: dict[str, Item] = {}
    for (part, image_id), sources in sorted(named.items()):
        if part in parts or not parts:
            _add(items, part, image_id, sources, findings)
    return [items[i] for i in sorted(items)], findings


def _folders(release: Release) -> dict[tuple[str, str], dict[str, _Folder]]:
    """Group files by (part or "", image id) and source. A plain loop: 30,000 pattern matches would take 0.3 s."""
    folders: dict[tuple[str, str], dict[str, _Folder]] = defaultdict(dict)
    last, files = ("", ""), None
    for entry in release.entries:
        folder = entry.name.rpartition("/")[0]
        if (entry.source, folder) != last:
            last, files = (entry.source, folder), _files_of(release, entry.source, folder, folders)
        if files is not None and entry.name.lower().endswith(_ENDINGS):
            files.append(entry)
    return folders


def _files_of(
    release: Release, source: str, folder: str, folders: dict[tuple[str, str], dict[str, _Folder]]
) -> list[Entry] | None:
    """Return the list for files of ``…/<image id>/images`` or ``…/masks``; None for any other folder."""
    above, _, name = folder.rpartition("/")
    if name not in ("images", "masks") or not above:
        return None
    outside = f"{release.top}/{stem(source)}/"
    parts = _PART.findall(outside + above)
    sources = folders[parts[-1] if parts else "", above.rpartition("/")[2]]
    files = sources.setdefault(source, _Folder([], []))
    return files.pictures if name == "images" else files.masks


def _named_parts(
    folders: Mapping[tuple[str, str], dict[str, _Folder]], findings: list[Finding]
) -> dict[tuple[str, str], dict[str, _Folder]]:
    """Assign images outside the folder of a part to stage1_train if any of them has masks, else to stage1_test."""
    loose = [key for key in folders if not key[0]]
    if not loose:
        return dict(folders)
    part = "stage1_train" if any(f.masks for key in loose for f in folders[key].values()) else "stage1_test"
    text = f"{len(loose):,} images are not in the folder of a part; read as {part}. Rename their folder to change that"
    findings.append(Finding("part-guessed", text, "note", value=float(len(loose))))
    named = {key: f for key, f in folders.items() if key[0]}
    for key in loose:
        named.setdefault((part, key[1]), folders[key])
    return named


def _add(
    items: dict[str, Item], part: str, image_id: str, sources: Mapping[str, _Folder], findings: list[Finding]
) -> None:
    if len(sources) > 1:
        text = f"{image_id} is in {len(sources)} places: {', '.join(k or 'the folder' for k in sorted(sources))}"
        findings.append(Finding("duplicate-copy", f"{text}; the one with the most files was read", "note", image_id))
    if image_id in items:
        text = f"{image_id} is in {items[image_id].part} and in {part}; the first was read"
        findings.append(Finding("image-in-two-splits", text, "error", image_id))
        return
    folder = max(sources.values(), key=lambda f: (bool(f.pictures), len(f.masks)))
    own = [e for e in folder.pictures if image_id in e.name.rpartition("/")[2]]
    picture = next(iter(own or folder.pictures), None)
    if len(folder.pictures) > 1 and picture is not None:
        text = f"{len(folder.pictures)} files in images/; expected one. {picture.name.rpartition('/')[2]} was read"
        findings.append(Finding("several-pictures", text, "warning", image_id))
    items[image_id] = Item(image_id, part, picture, tuple(folder.masks))


def load_image(release: Release, item: Item, rows: Rows | None) -> Sample:
    """Read an image with its nuclei, from its masks or, without any, from the rows of a CSV."""
    findings: list[Finding] = []
    if not _HEX.fullmatch(item.image_id):
        text = f"'{item.image_id}' is not an image id of 64 hexadecimal digits"
        findings.append(Finding("unexpected-name", text, "note", item.image_id))
    pixels = _picture(release, item, findings)
    batch = _Masks.read(release, item, findings) if item.masks else None
    size = (
        pixels.shape[:2] if pixels is not None else batch.size if batch else rows.size if rows and rows.size else (0, 0)
    )
    image = _image(item, (int(size[0]), int(size[1])), pixels)
    if batch is not None:
        image, cells = image, batch.cells(image, findings)
        if rows is not None:
            _compare(cells, rows, image, findings)
    elif rows is not None:
        image, cells = _from_rows(image, rows, findings)
    else:
        image, cells = _unlabelled(image, item, findings)
    if pixels is not None:
        image = _classified(image, pixels, cells)
    made = sample(release, image, cells, findings)
    return made if image.pixels else replace(made, load_pixels=None)


def _picture(release: Release, item: Item, findings: list[Finding]) -> NDArray[Any] | None:
    if item.picture is None:
        text = "no file in images/; the size was taken from the masks or rows"
        findings.append(Finding("missing-image", text, "error", item.image_id))
        return None
    name = item.picture.name
    try:
        data = release.read(item.picture)
        pixels = read_pixels(data, name)
    except (ArchiveError, ImageFileError) as exc:
        findings.append(Finding("unreadable-image", str(exc), "error", item.image_id))
        return None
    if not (data.startswith(_PNG) and name.endswith(".png")):
        info = image_info(data, name)
        if not info.suffix_fits(name):
            text = f"{name.rpartition('/')[2]} is a {info.format.upper()} file"
            findings.append(Finding("wrong-extension", text, "warning", item.image_id))
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4) and not _constant_alpha(pixels):
        text = f"the alpha channel varies from {pixels[..., -1].min()} to {pixels[..., -1].max()}; expected a constant"
        findings.append(Finding("alpha-varies", text, "warning", item.image_id))
    return pixels


def _constant_alpha(pixels: NDArray[Any]) -> bool:
    if pixels.dtype == np.uint8 and pixels.shape[2] == 4 and pixels.flags.c_contiguous:
        words = pixels.reshape(-1).view("<u4")  # alpha is the high byte: one pass says whether it is 255 throughout
        if int(np.bitwise_and.reduce(words)) >> 24 == 255:
            return True
    alpha = pixels[..., -1]
    return bool((alpha == alpha.flat[0]).all())


def _image(item: Item, size: tuple[int, int], pixels: NDArray[Any] | None) -> Image:
    where = () if item.picture is None else (located(item.picture),)
    n = 0 if pixels is None else 1 if pixels.ndim == 2 else pixels.shape[2]
    return Image(
        item.image_id,
        *size,
        pixels=where,
        channels=_CHANNELS.get(n, ()),
        dtype=None if pixels is None else pixels.dtype.name,
        split=SPLITS[item.part],
        metadata={"part": item.part},
    )


def _classified(image: Image, pixels: NDArray[Any], cells: Instances) -> Image:
    """Derive modality, image class and leakage group from the pixels (and the density of the class from the cells)."""
    look = look_at(pixels)
    known = image.annotated and not image.ignore
    return replace(
        image,
        modality=look.modality,
        image_class=image_class(look, image.size, cells.area if known else None),
        leakage_group=look.group(image.size),
        group_source="derived",
    )


@dataclass(frozen=True, slots=True)
class _Masks:
    """The readable masks of one image, with their file names."""

    names: list[str]
    batch: MaskBatch

    @classmethod
    def read(cls, release: Release, item: Item, findings: list[Finding]) -> _Masks:
        batch = release.read_masks(item.masks)
        names = [e.name.rpartition("/")[2].rpartition(".")[0] for e in item.masks]
        others: dict[int, NDArray[Any]] = {}
        for k, message in batch.errors:
            other = _other_format(release, item.masks[k], item.image_id, findings)
            if other is None:
                findings.append(Finding("unreadable-mask", f"mask {names[k]}: {message}", "error", item.image_id))
            else:
                others[k] = other
        batch = batch.with_arrays(others)
        lost = {k for k, _ in batch.errors}
        for k in np.flatnonzero(~batch.values_ok & (batch.counts.lengths > 0)).tolist():
            if k not in lost:
                text = f"mask {names[k]} holds values other than 0 and 255; all above 0 count as nucleus"
                findings.append(Finding("mask-values", text, "warning", item.image_id))
        if not lost:
            return cls(names, batch)
        kept = [k for k in range(len(names)) if k not in lost]
        return cls([names[k] for k in kept], batch.take(kept))

    @property
    def size(self) -> tuple[int, int]:
        """Return the most frequent mask size."""
        sizes = Counter((height, width) for height, width in self.batch.sizes.tolist())
        return sizes.most_common(1)[0][0] if sizes else (0, 0)

    def cells(self, image: Image, findings: list[Finding]) -> Instances:
        """Turn the masks of the image's size into cells and the others into findings."""
        where, masks = self.batch.masks(image.size)
        if len(where) == len(self.names):
            return Instances(masks, source_id=self.names, annotator="manual")
        for k in np.setdiff1d(np.arange(len(self.names)), where).tolist():
            height, width = self.batch.sizes[k].tolist()
            text = f"mask {self.names[k]} is {height} × {width} px, the image {image.height} × {image.width}; left out"
            findings.append(Finding("size-mismatch", text, "error", image.image_id))
        return Instances(masks, source_id=[self.names[k] for k in where.tolist()], annotator="manual")


def _other_format(release: Release, entry: Entry, image_id: str, findings: list[Finding]) -> NDArray[Any] | None:
    """Decode a mask in another format than PNG; None if it cannot be read."""
    try:
        data = release.read(entry)
        if data.startswith(_PNG):
            return None
        plane, info = read_pixels(data, entry.name), image_info(data, entry.name)
    except (ArchiveError, ImageFileError):
        return None
    if not info.suffix_fits(entry.name):
        text = f"{entry.name.rpartition('/')[2]} is a {info.format.upper()} file"
        findings.append(Finding("wrong-extension", text, "warning", image_id))
    return plane if plane.ndim == 2 else np.asarray(plane[..., : 3 if plane.shape[2] >= 3 else 1].max(axis=2))


def _from_rows(image: Image, rows: Rows, findings: list[Finding]) -> tuple[Image, Instances]:
    if rows.size is not None and rows.size != image.size:
        text = f"the CSV says {rows.size[0]} × {rows.size[1]}, the image is {image.height} × {image.width}; its runs, "
        text += "numbered down the columns, are then meaningless and were left out"
        findings.extend([*rows.findings, Finding("size-mismatch", text, "error", image.image_id)])
        return replace(image, annotated=False, ignore=rows.usage == "Ignored"), Instances.empty(image.size)
    table = sample_of(image.image_id, rows, image)
    findings.extend(table.findings)
    cells = table.instances.with_columns(annotator="manual")
    return replace(table.image, annotated=bool(len(cells)) or not table.image.ignore), cells


def _unlabelled(image: Image, item: Item, findings: list[Finding]) -> tuple[Image, Instances]:
    if item.part == "stage1_train":
        text = "no masks folder and no rows in stage1_train_labels.csv; the image is unlabelled, not empty"
        findings.append(Finding("missing-annotation", text, "error", item.image_id))
    return replace(image, annotated=False), Instances.empty(image.size)


def _compare(cells: Instances, rows: Rows, image: Image, findings: list[Finding]) -> None:
    """Report if the CSV describes different nuclei from the masks; the masks are read."""
    other = sample_of(image.image_id, rows, image)
    findings.extend(other.findings)
    differing = Counter(cells.rle) - Counter(other.instances.rle) + (Counter(other.instances.rle) - Counter(cells.rle))
    if differing:
        text = f"{differing.total():,} nuclei differ between the masks and the CSV; the masks were read"
        findings.append(Finding("csv-differs", text, "warning", image.image_id, value=float(differing.total())))
