"""BBBC018: human HT29 cells, three channels as ArrayScan bitmaps, outlines stored upside down (Ljosa et al. 2012)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from celltable.cells import Finding, Image, Instances, Kind, Sample, Severity
from celltable.geometry import outline
from celltable.imagefile import Entry, Release
from celltable.plugins.dataset import Damage, Dataset, File, Scan

from ._channels import Channel, data_channel, decoded, image_of_channels
from ._outlines import grown, line_of, open_contours, sample_of_drawings
from ._read import fitting_mask, png, unlabelled

IMAGE: Final = r"(?P<field>\d{5})-(?P<channel>DNA|actin|pH3)\.(?i:dib|bmp)"
OUTLINE: Final = r"(?P<field>\d{5})-(?P<what>nuclei|cells)\.(?i:png)"
ROLES: Final = ("DNA", "actin", "pH3")
GREEN: Final = 1  # the channel of the bitmap that holds the data
KINDS: Final[dict[str, Kind]] = {"nuclei": "nucleus", "cells": "cell"}
WITHOUT: Final = "10779"  # published without outlines


class Item(NamedTuple):
    """One field."""

    image_id: str
    images: dict[str, Entry]
    outlines: dict[str, Entry]


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List fields by their five-digit number."""
    images: dict[str, dict[str, Entry]] = defaultdict(dict)
    outlines: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry, hit in release.match(IMAGE):
        images[hit["field"]][hit["channel"]] = entry
    for entry, hit in release.match(OUTLINE):
        outlines[hit["field"]][hit["what"]] = entry
    findings = [
        Finding("missing-image", f"outlines of field {field} have no image", "error", field)
        for field in sorted(outlines.keys() - images.keys())
    ]
    return Scan([Item(f, images[f], dict(outlines.get(f, {}))) for f in sorted(images)], tuple(findings))


def load(release: Release, shared: Any, item: Item) -> Sample:
    """Read a field with its nuclei and cells; without outlines it is unlabelled, not empty."""
    findings: list[Finding] = []
    for role in (r for r in ROLES if r not in item.images):
        findings.append(Finding("missing-channel", f"no {item.image_id}-{role}.DIB", "error", item.image_id))
    channels = [c for r in ROLES if r in item.images and (c := _channel(release, r, item, findings))]
    image = image_of_channels(
        release,
        item.image_id,
        channels,
        findings,
        modality="fluorescence",
        cell_type="HT29",
        leakage_group=item.image_id,
        group_source="derived",
    )
    if not item.outlines:
        known = " (known: it was published without)" if item.image_id == WITHOUT else ""
        text = f"no outlines for field {item.image_id}{known}; it is unlabelled, not empty"
        severity: Severity = "note" if known else "error"
        return unlabelled(release, image, *findings, Finding("missing-annotation", text, severity, item.image_id))
    drawn = {kind: _cells(release, what, kind, item, image, findings) for what, kind in KINDS.items()}
    return sample_of_drawings(release, image, drawn, findings)


def _channel(release: Release, role: str, item: Item, findings: list[Finding]) -> Channel | None:
    """Choose the colour of a channel file: green, unless it is empty and another colour is not."""
    pixels = decoded(release, role, item.images[role], item.image_id, findings)
    if pixels is None:
        return None
    fullest = data_channel(pixels)
    if fullest in (None, GREEN) or pixels[..., GREEN].any():
        return role, item.images[role], None if fullest is None else GREEN
    text = f"the data of {role} are in channel {fullest} of the bitmap; expected {GREEN} (green)"
    findings.append(Finding("data-channel", text, "warning", item.image_id, value=float(fullest or 0)))
    return role, item.images[role], fullest


def _cells(
    release: Release, what: str, kind: Kind, item: Item, image: Image, findings: list[Finding]
) -> Instances | None:
    entry = item.outlines.get(what)
    if entry is None:
        text = f"no {item.image_id}-{what}.png"
        findings.append(Finding("missing-annotation", text, "error", item.image_id))
        return None
    drawing = fitting_mask(release, entry, image, findings)
    if drawing is None:
        return None
    line = line_of(drawing)[::-1]  # stored upside down
    inside = outline.fill_outlines(line, connectivity=4, drop="border")
    findings += open_contours(line, inside, item.image_id, entry.name)
    labels = grown(inside, line)  # the line belongs to the object
    return Instances.from_label_map(labels, kind=kind, annotator="manual").with_columns(source_id=None)


def example(folder: Path, seed: int = 0) -> Path:
    """Write three fields: bitmaps with and without file header, outlines upside down, one open, field 10779 without."""
    from celltable.synthetic import generate

    from ._example import bitmap, eight_bits, litter_files, nested, outer_line, write_files

    files: dict[str, bytes] = {}
    for i, field in enumerate(("00733", "01481", WITHOUT)):
        scene = generate("fluorescence", size=(128, 128), cells=10, seed=seed * 10 + i)
        nuclei, cells = nested(scene.label_map)
        grey = eight_bits(scene.pixels)
        for k, role in enumerate(ROLES):
            rgb = np.zeros((*grey.shape, 3), np.uint8)
            rgb[..., GREEN] = grey // (k + 1)
            files[f"BBBC018_v1_images/{field}-{role}.DIB"] = bitmap(rgb, header=k != 1)
        for what, labels in (("nuclei", nuclei), ("cells", cells)):
            line = outer_line(labels)
            if i == 1 and what == "nuclei":
                row, column = np.argwhere(line)[0]
                line[: row + 4, max(0, column - 3) : column + 4] = False  # a contour with a gap
            if field != WITHOUT:
                files[f"BBBC018_v1_outlines/{field}-{what}.png"] = png(line[::-1])
    return write_files(folder / "bbbc018", {**files, **litter_files()})


_ROOT: Final = "https://data.broadinstitute.org/bbbc/BBBC018/"
DATASET = Dataset(
    name="bbbc018",
    title="BBBC018: human HT29 colon-cancer cells",
    description="HT29 cells stained for DNA, actin and pH3, 56 fields of 512 × 512 px; nuclei and cells are outlined "
    "in 55 of them. Outlines are stored upside down; the line belongs to the object.",
    licence="not known; read the page before use",
    redistribute=False,
    citation="Ljosa, Sokolnicki, Carpenter: Annotated high-throughput microscopy image sets for validation. Nature "
    "Methods 9:637 (2012); image set BBBC018v1",
    doi="10.1038/nmeth.2083",
    source="https://bbbc.broadinstitute.org/BBBC018",
    modality=("fluorescence",),
    target=("nucleus", "cell"),
    group="field; the plate is not known",
    counts={("", "images"): 56},
    files=(
        File(_ROOT + "BBBC018_v1_images.zip", "BBBC018_v1_images.zip"),
        File(_ROOT + "BBBC018_v1_outlines.zip", "BBBC018_v1_outlines.zip"),
    ),
    layout="BBBC018_v1_images/<5 digits>-{DNA,actin,pH3}.DIB\nBBBC018_v1_outlines/<5 digits>-{nuclei,cells}.png",
    expected_findings=("missing-annotation", "open-outline"),
    damages=(
        Damage("*00733-DNA.DIB", "missing-channel", "unreadable-image"),
        Damage("*00733-nuclei.png", "missing-annotation", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
