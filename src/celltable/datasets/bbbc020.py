"""BBBC020: murine macrophages in false colour, a binary TIFF per object, some missing (Wenzel et al. 2011)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from celltable.cells import Finding, Image, Instances, Kind, Sample
from celltable.geometry import rle
from celltable.geometry.masks import Masks
from celltable.imagefile import Entry, Release
from celltable.plugins.dataset import Damage, Dataset, File, Scan
from celltable.rules import rule

from ._channels import Channel, data_channel, decoded, image_of_channels
from ._outlines import with_parents
from ._read import fitting_mask, sample, tiff, unlabelled

rule(
    "misspelt-folder",
    "Misspelt folder",
    "note",
    "The release misspells a folder as BBC020; it was read nevertheless.",
    emitter="ingest bbbc020",
)
rule(
    "outline-object",
    "Object published as an outline",
    "note",
    "The mask of an object is only its outline; it was filled.",
    emitter="ingest bbbc020",
)

IMAGE: Final = r"(?P<field>jw-[^/]+?)_(?P<channel>c1|c5)\.(?i:tiff?)"
OBJECT: Final = (
    r"(?P<top>BBB?C020)_v1_outlines_(?P<what>nuclei|cells)/(?:[^/]+/)?"
    r"(?P<field>jw-[^/]+)_(?:c1|c5)_(?P<n>\d+)\.(?i:tiff?)"
)
ROLES: Final = {"c1": "CD11b/APC", "c5": "DAPI"}
DATA: Final = {"c1": (0, 1), "c5": (2,)}  # colours of the file that hold the stain
KINDS: Final[dict[str, Kind]] = {"nuclei": "nucleus", "cells": "cell"}
THRESHOLD: Final = 127
OUTLINE: Final = 2  # an object that encloses this share of its own pixels was drawn as an outline
Objects = tuple[tuple[int, Entry], ...]


class Item(NamedTuple):
    """One field: its channels, and its objects by number."""

    image_id: str
    images: dict[str, Entry]
    objects: dict[str, Objects]


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List fields with their objects in the order of their numbers."""
    images: dict[str, dict[str, Entry]] = defaultdict(dict)
    objects: dict[str, dict[str, list[tuple[int, Entry]]]] = defaultdict(lambda: {"nuclei": [], "cells": []})
    findings: list[Finding] = []
    misspelt = 0
    for entry, hit in release.match(IMAGE):
        images[hit["field"]][hit["channel"]] = entry
    for entry, hit in release.match(OBJECT):
        objects[hit["field"]][hit["what"]].append((int(hit["n"]), entry))
        misspelt += hit["top"] == "BBC020"
    if misspelt:
        text = f"{misspelt:,} files are in a folder spelt BBC020 instead of BBBC020, as in the publication"
        findings.append(Finding("misspelt-folder", text, "note", value=float(misspelt)))
    for field in sorted(objects.keys() - images.keys()):
        findings.append(Finding("missing-image", f"objects of {field} have no image", "error", field))
    items = [
        Item(field, channels, {what: tuple(sorted(numbered)) for what, numbered in objects[field].items()})
        for field, channels in sorted(images.items())
    ]
    return Scan(items, tuple(findings))


def load(release: Release, shared: Any, item: Item) -> Sample:
    """Read a field; nuclei are incomplete and objects at the border mostly missing, so absence means nothing."""
    findings: list[Finding] = []
    for channel in (c for c in ROLES if c not in item.images):
        findings.append(Finding("missing-channel", f"no {item.image_id}_{channel}.TIF", "error", item.image_id))
    channels = [c for name in ROLES if name in item.images and (c := _channel(release, name, item, findings))]
    series = item.image_id.removeprefix("jw-").partition(" ")[0]
    series = series if " " in item.image_id else series.rstrip("0123456789")  # "15min 5" but "Kontrolle1"
    image = image_of_channels(
        release,
        item.image_id,
        channels,
        findings,
        modality="fluorescence",
        cell_type="bone-marrow macrophage",
        leakage_group=series,
        group_source="published",
        exhaustive=False,
        metadata={"series": series},
    )
    if not any(item.objects.values()):
        text = "no objects were published for this field; it is unlabelled, not empty"
        return unlabelled(release, image, *findings, Finding("missing-annotation", text, "note", item.image_id))
    nuclei, cells = (_objects(release, item.objects[w], kind, image, findings) for w, kind in KINDS.items())
    return sample(release, image, with_parents(nuclei, cells), findings)


def _channel(release: Release, channel: str, item: Item, findings: list[Finding]) -> Channel | None:
    """Choose the colour of a channel file that holds the stain, and report data in another colour."""
    pixels = decoded(release, channel, item.images[channel], item.image_id, findings)
    if pixels is None:
        return None
    fullest = data_channel(pixels)
    if fullest is not None and fullest not in DATA[channel]:
        text = f"the data of {channel} are in colour {fullest}; expected {' or '.join(map(str, DATA[channel]))}"
        findings.append(Finding("data-channel", text, "warning", item.image_id, value=float(fullest)))
    return ROLES[channel], item.images[channel], fullest


def _objects(release: Release, objects: Objects, kind: Kind, image: Image, findings: list[Finding]) -> Instances:
    masks: list[bytes] = []
    names: list[str] = []
    for _, entry in objects:
        pixels = fitting_mask(release, entry, image, findings)
        if pixels is None:
            continue
        name = entry.name.rpartition("/")[2]
        plane = pixels if pixels.ndim == 2 else pixels[..., :3].max(axis=2)
        mask = rle.encode(plane if plane.dtype == bool else plane > THRESHOLD)
        one = Masks.of([mask], image.size)
        filled = one.fill_holes()
        area, whole = int(one.areas[0]), int(filled.areas[0])
        if area and whole >= OUTLINE * area:
            findings.append(Finding("outline-object", f"{name} is an outline; filled", "note", image.image_id))
            mask = filled[0]
        masks.append(mask)
        names.append(name.rpartition(".")[0])
    return Instances.from_rle(masks, image.size, kind=kind, source_id=names, annotator="manual")


def example(folder: Path, seed: int = 0) -> Path:
    """Write four fields: names with and without a space, a misspelt folder, the corrupt object, an unlabelled field."""
    from celltable.synthetic import generate

    from ._example import eight_bits, litter_files, nested, outer_line, write_files

    files: dict[str, bytes] = {}
    for i, field in enumerate(("jw-15min 5", "jw-1h 2", "jw-30min 1", "jw-Kontrolle1")):
        scene = generate("fluorescence", size=(104, 139), cells=8, seed=seed * 10 + i)
        nuclei, cells = nested(scene.label_map)
        grey = eight_bits(scene.pixels)
        none = np.zeros_like(grey)
        c1, c5 = np.stack([grey, grey, none], axis=2), np.stack([none, none, grey // 2], axis=2)
        for channel, pixels in (("c1", c1), ("c5", c5), ("(c1+c5)", c1 + c5)):
            files[f"BBBC020_v1_images/{field}/{field}_{channel}.TIF"] = tiff(pixels, photometric="rgb")
        if field.startswith("jw-30min"):
            continue
        for what, channel, labels in (("nuclei", "c5", nuclei), ("cells", "c1", cells)):
            for n in [k for k in np.unique(labels).tolist() if k]:
                mask = labels == n
                if (i, what, n) == (1, "cells", 1):
                    mask = outer_line(labels == n)
                name = f"BBC020_v1_outlines_{what}/{field}_{channel}_{n}.TIF"
                files[name] = tiff(np.where(mask, 255, 0).astype(np.uint8))
    files["BBC020_v1_outlines_nuclei/jw-15min 5_c5_43.TIF"] = b""
    return write_files(folder / "bbbc020", {**files, **litter_files()})


_ROOT: Final = "https://data.broadinstitute.org/bbbc/BBBC020/"
DATASET = Dataset(
    name="bbbc020",
    title="BBBC020: murine bone-marrow macrophages",
    description="Macrophages stained for CD11b/APC (cell surface) and DAPI, 25 fields of 1388 × 1040 px in false "
    "colour; nuclei and cells of 20 fields, one file per object. Nuclei are annotated incompletely and objects at the "
    "border mostly not, so absence of an annotation means nothing.",
    licence="CC BY 3.0",
    citation="Wenzel et al. (2011); image set BBBC020v1, Ljosa, Sokolnicki, Carpenter, Nature Methods 9:637 (2012)",
    doi="10.1038/nmeth.2083",
    source="https://bbbc.broadinstitute.org/BBBC020",
    modality=("fluorescence",),
    target=("nucleus", "cell"),
    group="treatment series (15min, 30min, 1h, 2h, 24h, Kontrolle)",
    counts={("", "images"): 25},
    files=tuple(
        File(_ROOT + name, name, sha256=digest)
        for name, digest in (
            ("BBBC020_v1_images.zip", "edf4a87be957ec2b7ab268bef92c2efae8e098dc0855a4fa9df80895ff7062e4"),
            ("BBBC020_v1_outlines_nuclei.zip", "b212f10013ae2a0260976cff2134204ecba226853922aea2ab5289051a47ceb7"),
            ("BBBC020_v1_outlines_cells.zip", "6f65b05eb5d5c52829004760a01a93c07863676547605516b6e5fce47f8516d5"),
        )
    ),
    layout="BBBC020_v1_images/<field>/<field>_{c1,c5}.TIF\nBBC020_v1_outlines_nuclei/<field>_c5_<n>.TIF\n"
    "BBC020_v1_outlines_cells/<field>_c1_<n>.TIF",
    expected_findings=("misspelt-folder", "missing-annotation", "outline-object", "unreadable-mask"),
    damages=(
        Damage("*/jw-1h 2_c5.TIF", "missing-channel", "unreadable-image"),
        Damage("*outlines_nuclei/*_c5_1.TIF", "", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
