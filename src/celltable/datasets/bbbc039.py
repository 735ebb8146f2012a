"""BBBC039: U2OS nuclei of a chemical screen, hand-annotated masks whose values are reused (Caicedo et al. 2019)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import ArchiveError, ImageFileError
from celltable.geometry import label_map
from celltable.imagefile import Entry, Release
from celltable.plugins.dataset import Damage, Dataset, File, Scan

from ._read import image_of, png, read_or_finding, sample, size_finding, tiff, unlabelled

_NAME: Final = (
    r"(?P<stem>IXMtest_(?P<well>[A-P]\d{2})_s(?P<site>\d)_w1(?P<guid>[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}))"
)
IMAGE: Final = rf"{_NAME}\.(?i:tiff?)"
MASK: Final = rf"{_NAME}\.(?i:png)"
LISTS: Final = r"(?P<list>training|validation|test)\.txt"
SPLITS: Final = {"training": "train", "validation": "val", "test": "test"}
_ROOT: Final = "https://data.broadinstitute.org/bbbc/BBBC039/"


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """Pair images and masks by stem, with the split that the lists of metadata.zip state."""
    masks = {m["stem"]: e for e, m in release.match(MASK)}
    images = {m["stem"]: (e, m["well"], m["site"]) for e, m in release.match(IMAGE)}
    splits: dict[str, str] = {}
    findings: list[Finding] = []
    for entry, hit in release.match(LISTS):
        for line in release.read(entry).decode("utf-8-sig", "replace").splitlines():
            name = line.strip().rpartition(".")[0] or line.strip()
            if name and name not in images:
                text = f"{entry.name} names {name}, which has no image"
                findings.append(Finding("unknown-image", text, "warning", name))
            elif name:
                splits[name] = SPLITS[hit["list"]]
    for stem in sorted(masks.keys() - images.keys()):
        findings.append(Finding("missing-image", f"{masks[stem].name} has no image", "error", stem))
    items = [(stem, *images[stem], masks.get(stem)) for stem in sorted(images)]
    return Scan(items, tuple(findings), splits)


def load(release: Release, shared: dict[str, str], item: tuple[str, Entry, str, str, Entry | None]) -> Sample:
    """Read a field; its nuclei are the 8-connected components of equal value in the mask's first channel."""
    stem, entry, well, site, mask_entry = item
    details: dict[str, Any] = {
        "modality": "fluorescence",
        "cell_type": "U2OS",
        "channels": ("Hoechst",),
        "split": shared.get(stem),
        "leakage_group": f"well {well}",
        "group_source": "published",
        "metadata": {"well": well, "site": site},
    }
    findings: list[Finding] = []
    try:
        image = image_of(release, stem, entry, **details)
    except (ArchiveError, ImageFileError) as exc:
        findings.append(Finding("unreadable-image", str(exc), "error", stem))
        image = Image(stem, 0, 0, **details)
    if mask_entry is None:
        return unlabelled(
            release, image, *findings, Finding("missing-annotation", f"no masks/{stem}.png", "error", stem)
        )
    mask, wrong = read_or_finding(release, mask_entry, stem)
    findings += wrong
    if mask is None:
        return unlabelled(release, image, *findings)
    if not image.height:
        image = replace(image, height=int(mask.shape[0]), width=int(mask.shape[1]))
    findings += size_finding(mask, image, mask_entry.name)
    if mask.shape[:2] != image.size:
        return unlabelled(release, image, *findings)
    values = mask if mask.ndim == 2 else mask[..., 0]
    if mask.ndim == 3 and mask.shape[2] >= 3 and mask[..., 1:3].any():
        text = f"{mask_entry.name} has data outside its first channel; only the first channel was read"
        findings.append(Finding("data-channel", text, "warning", stem))
    cells = Instances.from_label_map(label_map.components(values, 8), annotator="manual").with_columns(source_id=None)
    return sample(release, image, cells, findings) if image.pixels else Sample(image, cells, tuple(findings))


def example(folder: Path, seed: int = 0) -> Path:
    """Write three fields and their lists: 12 of 16 bits, RGBA masks of few values in which touching nuclei differ."""
    from celltable.synthetic import generate

    from ._example import guid, litter_files, recoloured, twelve_bits, write_files

    files: dict[str, bytes] = {}
    names = []
    for i, (well, site) in enumerate((("A02", 1), ("A02", 2), ("B11", 1))):
        scene = generate("fluorescence", size=(130, 174), cells=16, seed=seed * 10 + i)
        stem = f"IXMtest_{well}_s{site}_w1{guid(seed, i).upper()}"
        names.append(stem)
        twelve = twelve_bits(scene.pixels)
        mask = np.zeros((*twelve.shape, 4), np.uint8)
        mask[..., 0], mask[..., 3] = recoloured(scene.label_map), 255
        files[f"images/{stem}.tif"] = tiff(twelve)
        files[f"masks/{stem}.png"] = png(mask)
    files["metadata/training.txt"] = f"{names[0]}.png\r\n{names[1]}.png\r\n".encode("utf-8-sig")
    files["metadata/validation.txt"] = f"{names[2]}.png\n".encode()
    files["metadata/test.txt"] = f"IXMtest_P24_s9_w1{guid(seed, 99).upper()}.png\n".encode()
    return write_files(folder / "bbbc039", {**files, **litter_files()})


DATASET = Dataset(
    name="bbbc039",
    title="BBBC039: nuclei of U2OS cells in a chemical screen",
    description="Hoechst-stained U2OS nuclei, 16-bit fields of 696 × 520 px with manual masks. Mask values are a "
    "colouring that only separates touching nuclei: each value occurs many times, and nuclei are its components.",
    licence="CC0 1.0",
    citation="Caicedo et al.: Evaluation of deep learning strategies for nucleus segmentation in fluorescence images. "
    "Cytometry A 95:952 (2019)",
    doi="10.1002/cyto.a.23863",
    source="https://bbbc.broadinstitute.org/BBBC039",
    modality=("fluorescence",),
    target=("nucleus",),
    group="well",
    counts={("", "images"): 200},
    files=(
        File(
            _ROOT + "images.zip",
            "images.zip",
            sha256="6f30a5d4fe38c928ded972704f085975f8dc0d65d9aa366df00e5a9d449fddd7",
        ),
        File(
            _ROOT + "masks.zip",
            "masks.zip",
            sha256="f9e6043d8ca56344a4886f96a700d804d6ee982f31e2b2cd3194af2a053c2710",
        ),
        File(_ROOT + "metadata.zip", "metadata.zip"),
    ),
    protocols=("errors_caicedo",),
    layout="images/IXMtest_<Well>_s<site>_w1<GUID>.tif\nmasks/<same stem>.png\nmetadata/{training,validation,test}.txt",
    expected_findings=("unknown-image",),
    damages=(
        Damage("images/*_A02_s1_*.tif", "missing-image", "unreadable-image", "truncated-image"),
        Damage("masks/*_A02_s1_*.png", "missing-annotation", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
