"""A data set: grey pictures of dishes, each with a 16-bit label map beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from celltable.cells import Finding, Image, Instances, Pixels, Sample
from celltable.errors import ArchiveError, ImageFileError
from celltable.imagefile import Entry, Release
from celltable.plugins.dataset import Damage, Dataset, Scan

NAME = re.compile(r"dishes/(dish_\d+)\.(picture|labels)\.png")


@dataclass(frozen=True)
class Item:
    """The files of one dish; None where one is missing."""

    image_id: str
    picture: Entry | None
    labels: Entry | None


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List the dishes by name."""
    files: dict[str, dict[str, Entry]] = {}
    for entry, match in release.match(NAME):
        files.setdefault(match[1], {})[match[2]] = entry
    items = [Item(name, pair.get("picture"), pair.get("labels")) for name, pair in sorted(files.items())]
    return Scan(items)


def load(release: Release, shared: None, item: Item) -> Sample:
    """Read one dish; report missing and damaged files as findings."""
    findings: list[Finding] = []
    picture = _pixels(release, item.picture, "image", item.image_id, findings)
    labels = _pixels(release, item.labels, "mask", item.image_id, findings)
    if picture is None or item.picture is None:
        size = (0, 0) if labels is None else labels.shape
        image = Image(item.image_id, int(size[0]), int(size[1]), annotated=False)
        return Sample(image, Instances.empty(image.size), tuple(findings))
    image = Image(
        item.image_id,
        int(picture.shape[0]),
        int(picture.shape[1]),
        annotated=labels is not None and labels.shape == picture.shape,
        channels=("grey",),
        dtype=picture.dtype.name,
        pixels=(Pixels(item.picture.source, item.picture.name),),
    )
    if labels is not None and labels.shape != picture.shape:
        text = f"the labels have {labels.shape} px, the picture {picture.shape}"
        findings.append(Finding("size-mismatch", text, "error", item.image_id))
    cells = Instances.from_label_map(labels) if image.annotated else Instances.empty(image.size)
    return Sample(image, cells, tuple(findings), load_pixels=partial(release.read_pixels, item.picture))


def _pixels(
    release: Release, entry: Entry | None, what: str, image_id: str, findings: list[Finding]
) -> NDArray[np.generic] | None:
    if entry is None:
        rule = "missing-image" if what == "image" else "missing-annotation"
        findings.append(Finding(rule, f"the {what} of {image_id} is missing", "error", image_id))
        return None
    try:
        return release.read_pixels(entry)
    except (ArchiveError, ImageFileError) as exc:
        findings.append(Finding(f"unreadable-{what}", str(exc), "error", image_id))
        return None


def example(folder: Path, seed: int = 0) -> Path:
    """Write two dishes of generated cells."""
    from celltable.synthetic import generate

    root = folder / "petri" / "dishes"
    root.mkdir(parents=True)
    for k in range(2):
        scene = generate("fluorescence", size=(96, 96), cells=6, seed=seed * 10 + k)
        grey = (scene.pixels.astype(np.float64) / max(float(scene.pixels.max()), 1.0) * 255).astype(np.uint8)
        Pillow.fromarray(grey).save(root / f"dish_{k}.picture.png")
        Pillow.fromarray(scene.label_map.astype(np.uint16)).save(root / f"dish_{k}.labels.png")
    return folder / "petri"


DATASET = Dataset(
    name="petri_dishes",
    title="Petri dishes",
    description="Generated cells in two dishes. Each picture has a label map beside it.",
    licence="CC0",
    citation="Petri, An example of a plug-in (2026)",
    source="https://example.org/petri",
    modality=("fluorescence",),
    target=("nucleus",),
    group="none",
    scan=scan,
    load=load,
    example=example,
    layout="dishes/dish_<k>.picture.png\ndishes/dish_<k>.labels.png",
    access="by hand",
    how_to_get="Ask the author for the two dishes.",
    protocols=("iou_petri",),
    damages=(
        Damage("*dish_0.picture.png", "missing-image", "unreadable-image"),
        Damage("*dish_0.labels.png", "missing-annotation", "unreadable-mask"),
    ),
)
