"""BBBC006: U2OS z-stacks of an out-of-focus study, two channels, labels made by software (Ljosa et al. 2012)."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from celltable.cells import Finding, Instances, Sample
from celltable.imagefile import Entry, Release
from celltable.plugins.dataset import Damage, Dataset, File, Scan
from celltable.rules import rule

from ._channels import image_of_channels
from ._read import fitting_mask, png, sample, tiff, unlabelled

rule(
    "duplicate-channel",
    "Duplicate channel",
    "warning",
    "Two files have the same well, site, plane and channel. The first was read.",
    emitter="ingest bbbc006",
)

_FIELD: Final = r"(?P<stem>mcf-z-stacks-03212011_(?P<well>[a-p]\d{2})_s(?P<site>[12]))"
_GUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
IMAGE: Final = rf"(?:[^/]*_z_(?P<z>\d{{2}})/)?(?:images/)?{_FIELD}_w(?P<channel>[12]){_GUID}\.(?i:tiff?)"
LABEL: Final = rf"{_FIELD}\.(?i:png)"
COUNTS: Final = r"[^/]*counts[^/]*\.csv"
ROLES: Final = {"1": "Hoechst", "2": "phalloidin"}
IN_FOCUS: Final = "16"
PLANES: Final = tuple(f"z_{z:02d}" for z in range(34))
_ROOT: Final = "https://data.broadinstitute.org/bbbc/BBBC006/"


class Item(NamedTuple):
    """One field at one focal plane."""

    image_id: str
    z: str
    well: str
    site: str
    stem: str
    channels: tuple[tuple[str, Entry], ...]
    label: Entry | None


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List fields by well, site and plane; the GUID in a file name is ignored."""
    findings: list[Finding] = []
    labels = {m["stem"]: e for e, m in release.match(LABEL)}
    fields: dict[tuple[str, str, str, str], dict[str, Entry]] = defaultdict(dict)
    for entry, hit in release.match(IMAGE):
        z = hit["z"] or IN_FOCUS
        if parts and f"z_{z}" not in parts:
            continue
        channels = fields[hit["stem"], hit["well"], hit["site"], z]
        if hit["channel"] in channels:
            text = f"{entry.name}: another file has the same well, site, plane and channel; the first one was read"
            findings.append(Finding("duplicate-channel", text, "warning", _id(hit["well"], hit["site"], z)))
        channels.setdefault(hit["channel"], entry)
    items = [
        Item(_id(well, site, z), z, well, site, stem, tuple(sorted(channels.items())), labels.get(stem))
        for (stem, well, site, z), channels in fields.items()
    ]
    for stem in sorted(labels.keys() - {item.stem for item in items}):
        findings.append(Finding("missing-image", f"{labels[stem].name} has no image", "error", stem))
    counts = _counts(release, findings)
    return Scan(sorted(items), tuple(findings), counts)


def _id(well: str, site: str, z: str) -> str:
    return f"{well}_s{site}_z{z}"


def _counts(release: Release, findings: list[Finding]) -> dict[tuple[str, str], float]:
    """Read the published counts by (well, site): the last integer of a row that names both.

    The columns of the table are undocumented: a row may hold a file name, or well and site separately.
    """
    counts: dict[tuple[str, str], float] = {}
    for entry, _ in release.match(COUNTS):
        text = release.read(entry).decode("utf-8-sig", "replace")
        for row in csv.reader(io.StringIO(text)):
            joined = "_".join(cell.strip() for cell in row)
            place = re.search(r"(?<![a-z0-9])([a-p]\d{2})_s?([12])(?!\d)", joined, re.IGNORECASE)
            numbers = [cell for cell in row if cell.strip().isdecimal()]
            if place and numbers:
                counts[place[1].lower(), place[2]] = float(numbers[-1])
        if not counts:
            findings.append(Finding("unreadable-table", f"{entry.name}: no row names a well, a site and a count"))
    return counts


def load(release: Release, shared: dict[tuple[str, str], float], item: Item) -> Sample:
    """Read a field at one plane; its nuclei are the labels of the field, which apply to every plane."""
    findings: list[Finding] = []
    given = dict(item.channels)
    missing = [ROLES[c] for c in ROLES if c not in given]
    if missing:
        text = f"no {', '.join(missing)} channel; expected two files per field and plane"
        findings.append(Finding("missing-channel", text, "error", item.image_id))
    image = image_of_channels(
        release,
        item.image_id,
        [(ROLES[c], entry, None) for c, entry in item.channels],
        findings,
        modality="fluorescence",
        cell_type="U2OS",
        count=shared.get((item.well, item.site)),
        leakage_group=f"well {item.well}",
        group_source="published",
        metadata={"part": f"z_{item.z}", "well": item.well, "site": item.site, "z": item.z},
    )
    if item.label is None:
        text = f"the labels do not include {item.stem}.png; the field is unlabelled"
        return unlabelled(release, image, *findings, Finding("missing-annotation", text, "error", item.image_id))
    labels = fitting_mask(release, item.label, image, findings)
    if labels is None:
        return unlabelled(release, image, *findings)
    plane = labels if labels.ndim == 2 else labels[..., 0]
    return sample(release, image, Instances.from_label_map(plane, annotator="automatic"), findings)


def example(folder: Path, seed: int = 0) -> Path:
    """Write two wells at two planes: a different GUID per file, LZW, 12 of 16 bits, 8- and 16-bit labels."""
    from celltable.synthetic import generate

    from ._example import guid, litter_files, twelve_bits, write_files

    files: dict[str, bytes] = {}
    rows = ["Image_FileName,Well,Site,Count_Nuclei"]
    for i, (well, site) in enumerate((("a01", 1), ("a01", 2), ("b24", 1), ("p13", 2))):
        scene = generate("fluorescence", size=(130, 174), cells=12, seed=seed * 10 + i)
        stem = f"mcf-z-stacks-03212011_{well}_s{site}"
        grey = twelve_bits(scene.pixels)
        for z in ("16", "17"):
            for channel in (1, 2):
                if (i, channel) == (2, 2):
                    continue  # a field whose second channel is missing
                name = f"BBBC006_v1_images_z_{z}/{stem}_w{channel}{guid(seed, i, int(z), channel)}.tif"
                files[name] = tiff(grey if channel == 1 else 4095 - grey // 2, compression="lzw")
        if i < 3:
            labels = scene.label_map.astype(np.uint16 if i else np.uint8)
            files[f"BBBC006_v1_labels/{stem}.png"] = png(labels)
        n = len(np.unique(scene.label_map)) - 1
        rows.append(f"{stem}_w1.tif,{well},{site},{n + (i == 1)}")
    files["BBBC006_v1_counts.csv"] = ("\r\n".join(rows) + "\r\n").encode("utf-8-sig")
    return write_files(folder / "bbbc006", {**files, **litter_files()})


DATASET = Dataset(
    name="bbbc006",
    title="BBBC006: U2OS cells out of focus (z-stacks)",
    description="Human U2OS cells, Hoechst and phalloidin, 384 wells × 2 sites × 34 focal planes; plane 16 is in "
    "focus. The labels were made by CellProfiler, not by hand, once per field, and apply to all of its planes.",
    licence="CC0 1.0 (second-hand; see the page)",
    citation="Ljosa, Sokolnicki, Carpenter: Annotated high-throughput microscopy image sets for validation. Nature "
    "Methods 9:637 (2012); image set BBBC006v1",
    doi="10.1038/nmeth.2083",
    source="https://bbbc.broadinstitute.org/BBBC006",
    modality=("fluorescence",),
    target=("nucleus",),
    group="well (both sites, all planes)",
    counts={("z_16", "images"): 768},
    parts=PLANES,
    files=(
        File(_ROOT + "BBBC006_v1_images_z_16.zip", "BBBC006_v1_images_z_16.zip"),
        File(_ROOT + "BBBC006_v1_labels.zip", "BBBC006_v1_labels.zip"),
        File(_ROOT + "BBBC006_v1_counts.csv", "BBBC006_v1_counts.csv"),
    ),
    how_to_get=f"Free. Plane 16 is in focus; {_ROOT}BBBC006_v1_images_z_<NN>.zip holds plane NN, 00 to 33.",
    layout="BBBC006_v1_images_z_16/mcf-z-stacks-03212011_<well>_s<site>_w<channel><GUID>.tif\n"
    "BBBC006_v1_labels/mcf-z-stacks-03212011_<well>_s<site>.png\nBBBC006_v1_counts.csv",
    protocols=("errors_caicedo",),
    expected_findings=("missing-channel", "missing-annotation"),
    damages=(
        Damage("BBBC006_v1_images_z_16/*_a01_s1_w1*.tif", "missing-channel", "unreadable-image", "truncated-image"),
        Damage("*_a01_s1.png", "missing-annotation", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
