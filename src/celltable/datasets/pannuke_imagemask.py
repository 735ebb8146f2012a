"""ImageMask-Dataset-PanNuke: colour-coded semantic masks made from PanNuke's first fold, versions 1 and 2."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Instances, Sample
from celltable.errors import InputError
from celltable.geometry import label_map
from celltable.imagefile import Entry, Release
from celltable.notation.pannuke import CLASS_NAMES, FIRST, PALETTES, classify
from celltable.plugins.dataset import Damage, Dataset, Scan
from celltable.rules import rule

from ._read import fitting_mask, image_of, located, png, sample, unlabelled, unreadable_is_a_finding

rule(
    "class-unavailable",
    "Class not drawn",
    "warning",
    "Version 2 does not draw neoplastic nuclei: the class is unavailable, not empty.",
    emitter="ingest pannuke_imagemask",
)
rule(
    "red-blue-swapped",
    "Red and blue swapped",
    "note",
    "Red and blue are exchanged in the image files; they are swapped back when read.",
    emitter="ingest pannuke_imagemask",
)

NEAR: Final = (
    64  # of 255 in every channel, so that even blends of two classes, or of a class and black, belong to neither
)
PAIR: Final = r"(?P<split>train|valid|test)/(?P<what>images|masks)/(?P<number>1\d{4})\.(?:jpg|jpeg|png)"


@dataclass(frozen=True, slots=True)
class Shared:
    """The version's palette and the tissues of fold 1, if its types.npy is beside it."""

    version: str
    tissues: NDArray[Any] | None


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """Pair images and masks by number; the version is the requested part, or else that of the folder's name."""
    pairs: dict[str, dict[str, tuple[Entry, str]]] = {"images": {}, "masks": {}}
    for entry, m in release.match(PAIR):
        pairs[m["what"]][m["number"]] = (entry, m["split"])
    images, masks = pairs["images"], pairs["masks"]
    types = [e for e, _ in release.match(r"fold1/types\.npy")]
    findings = [
        Finding("missing-image", f"mask {n} has no image", "error") for n in sorted(masks.keys() - images.keys())
    ]
    items = [(n, e, split, masks[n][0] if n in masks else None) for n, (e, split) in sorted(images.items())]
    version = _version(release, parts) if items else "v1"
    return Scan(items, tuple(findings), Shared(version, release.memmap(types[0]) if types else None))


def _version(release: Release, parts: tuple[str, ...]) -> str:
    if parts:
        return parts[0]
    text = " ".join([release.path.resolve().name, *{f"{e.source}/{e.name}" for e in release.entries}])
    named = set(re.findall(r"-V([12])(?!\d)", text))
    if len(named) != 1:
        raise InputError(
            f"{release.path.name}: the colours of versions 1 and 2 differ, and no folder name says which this is. "
            "Choose --part v1 or --part v2."
        )
    return f"v{named.pop()}"


@unreadable_is_a_finding
def load(release: Release, shared: Shared, item: tuple[str, Entry, str, Entry | None]) -> Sample:
    """Read a pair: swap red and blue of the image back; cells are components of one colour."""
    number, entry, split, mask_entry = item
    row = int(number) - FIRST
    tissue = str(shared.tissues[row]) if shared.tissues is not None and 0 <= row < len(shared.tissues) else None
    swapped = tuple(located(entry, role=role, channel=c) for role, c in (("red", 2), ("green", 1), ("blue", 0)))
    image = image_of(
        release, number, entry, whole=True, pixels=swapped, channels=("red", "green", "blue"), modality="histology",
        tissue=tissue, split={"valid": "val"}.get(split, split), leakage_group="fold1", group_source="published",
        exhaustive=shared.version == "v1", magnification=80.0,
        metadata={"row": str(row), "version": shared.version, "red_blue": "swapped in the file, put right when read"},
    )  # fmt: skip
    findings = [Finding("red-blue-swapped", "red and blue are exchanged in the file", "note", number)]
    if mask_entry is None:
        return unlabelled(release, image, Finding("missing-annotation", f"mask {number} is missing", "error", number))
    mask = fitting_mask(release, mask_entry, image, findings)
    if mask is None:
        return unlabelled(release, image, *findings)
    if mask.ndim != 3 or mask.shape[2] < 3:
        text = f"{mask_entry.name} has shape {mask.shape}; expected three colour channels"
        return unlabelled(release, image, *findings, Finding("mask-shape", text, "error", number))
    classes, blended = assign(mask[..., :3], shared.version)
    if blended:
        text = f"{blended:,} px are not a pure class colour (blended by interpolation) and belong to no cell"
        findings.append(Finding("unassigned-pixels", text, "note", number, value=float(blended)))
    if shared.version == "v2":
        text = "version 2 does not draw neoplastic nuclei: the class is unavailable, not empty"
        findings.append(Finding("class-unavailable", text, "warning", number))
    return sample(release, image, _cells(classes), findings)


def assign(mask: NDArray[Any], version: str) -> tuple[NDArray[np.uint8], int]:
    """Return class number + 1 of each pixel (0 = background), and how many pixels are near no colour of the palette.

    A pixel belongs to a colour (or to black) if every channel is within NEAR of it.
    """
    palette = PALETTES[version]
    nearest, blended = classify(mask, list(palette.values()), NEAR)
    return np.array([0, *(CLASS_NAMES.index(name) + 1 for name in palette)], np.uint8)[nearest], blended


def _cells(classes: NDArray[np.uint8]) -> Instances:
    labels = label_map.components(classes, connectivity=8)
    first = np.unique(labels, return_index=True)
    names = [CLASS_NAMES[classes.flat[at] - 1] for label, at in zip(*(x.tolist() for x in first), strict=True) if label]
    cells = Instances.from_label_map(labels, annotator="derived: components of a semantic mask")
    return cells.with_columns(class_name=names, source_id=None) if names else cells


def example(folder: Path, seed: int = 0) -> Path:
    """Write version 2: three parts, blended edges, swapped colours, no neoplastic nuclei."""
    from celltable.synthetic import generate

    root = folder / "PanNuke-ImageMask-Dataset-V2"
    palette = PALETTES["v2"]
    for k, split in enumerate(("train", "valid", "test")):
        scene = generate("histology", size=(96, 96), cells=6, seed=seed * 100 + k)
        mask = np.zeros((96, 96, 3), np.float32)
        for label in range(1, int(scene.label_map.max()) + 1):
            mask[scene.label_map == label] = palette[CLASS_NAMES[1 + label % 4]]
        blended = (mask + np.roll(mask, 1, axis=1)) / 2
        for what, pixels in (("images", scene.pixels[..., 2::-1]), ("masks", blended)):
            path = root / split / what / f"{10040 + k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(pixels.astype(np.uint8)))
    return root


DATASET = Dataset(
    name="pannuke_imagemask",
    title="ImageMask-Dataset-PanNuke",
    description="Image and mask pairs made from PanNuke's first fold, scaled to 512 × 512, classes as colours. "
    "Semantic only; nuclei with ids 1 to 10 were lost by its generator, and version 2 lacks neoplastic nuclei.",
    licence="CC BY-NC-SA 4.0",
    non_commercial=True,
    redistribute=False,
    citation="ImageMask-Dataset-PanNuke (2024), from Gamper et al.: PanNuke. ECDP 2019, 11-19",
    source="https://github.com/sarah-antillia/ImageMask-Dataset-PanNuke",
    access="login",
    how_to_get="Version 1: https://drive.google.com/file/d/13uTAf6xaighlVvZfhS1EA4PaQezNBRbe/view (in a browser).\n"
    "The arrays it was made from (Kaggle login): "
    "https://www.kaggle.com/datasets/andrewmvd/cancer-inst-segmentation-and-classification",
    modality=("histology",),
    target=("nucleus",),
    classes=CLASS_NAMES,
    group="PanNuke fold 1",
    parts=("v1", "v2"),
    alternative_parts=True,
    counts={("", "images"): 2656},
    layout="PanNuke-ImageMask-Dataset-V<1|2>/{train,valid,test}/{images,masks}/<10001 + row of fold 1>.{jpg,png}",
    expected_findings=("unassigned-pixels", "red-blue-swapped", "class-unavailable"),
    damages=(
        Damage("train/images/10040.png", "missing-image", "unreadable-image"),
        Damage("train/masks/10040.png", "missing-annotation", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
