"""Janowczyk & Madabhushi 2016: ER+ breast H&E with some of the nuclei annotated; absence is not background."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from celltable.cells import Finding, Instances, Sample
from celltable.geometry import label_map
from celltable.imagefile import Entry, Release
from celltable.plugins.dataset import Damage, Dataset, File, Scan
from celltable.rules import rule

from ._read import fitting_mask, image_of, png, sample, tiff, unlabelled, unreadable_is_a_finding

rule(
    "partial-annotation",
    "Partly annotated image",
    "note",
    "Only some of the nuclei are annotated: an unmatched detection is not a mistake.",
    emitter="ingest janowczyk",
)

NAME: Final = r"(?P<stem>(?P<patient>[^_/]+)_(?P<mag>\d+)_f(?P<field>\d+))_(?P<what>original\.tif|mask\.png)"


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """Pair originals and masks by stem."""
    pairs: dict[str, dict[str, tuple[Entry, str]]] = {"original.tif": {}, "mask.png": {}}
    for entry, m in release.match(NAME):
        pairs[m["what"]][m["stem"]] = (entry, m["patient"])
    images, masks = pairs["original.tif"], pairs["mask.png"]
    findings = [
        Finding("missing-image", f"{stem}_mask.png has no {stem}_original.tif", "error")
        for stem in sorted(masks.keys() - images.keys())
    ]
    items = [
        (stem, entry, patient, masks[stem][0] if stem in masks else None)
        for stem, (entry, patient) in sorted(images.items())
    ]
    return Scan(items, tuple(findings))


@unreadable_is_a_finding
def load(release: Release, shared: Any, item: tuple[str, Entry, str, Entry | None]) -> Sample:
    """Read an image; cells are the 8-connected components of its mask, and some nuclei are not annotated."""
    stem, entry, patient, mask_entry = item
    image = image_of(
        release, stem, entry, whole=True, modality="histology", tissue="Breast", magnification=40.0, exhaustive=False,
        leakage_group=f"patient {patient}", group_source="published",
        metadata={"instances": "8-connected components of a semantic mask"},
    )  # fmt: skip
    if mask_entry is None:
        return unlabelled(release, image, Finding("missing-annotation", f"{stem}_mask.png is missing", "warning", stem))
    findings: list[Finding] = []
    mask = fitting_mask(release, mask_entry, image, findings)
    if mask is None:
        return unlabelled(release, image, *findings)
    plane = mask if mask.ndim == 2 else mask[..., : 3 if mask.shape[2] > 2 else 1].any(axis=2)
    cells = Instances.from_label_map(label_map.components(plane > 0, connectivity=8), annotator="manual")
    findings.append(Finding("partial-annotation", "only some of the nuclei are annotated", "note", stem))
    return sample(release, image, cells.with_columns(source_id=None), findings)


def example(folder: Path, seed: int = 0) -> Path:
    """Write a flat folder of two patients: half of the nuclei annotated, one image without a mask."""
    from celltable.synthetic import generate

    root = folder / "nuclei"
    root.mkdir(parents=True)
    for k, stem in enumerate(("12750_500_f00003", "12750_500_f00019", "8863_500_f00022")):
        scene = generate("histology", size=(120, 110), cells=12, seed=seed * 100 + k)
        (root / f"{stem}_original.tif").write_bytes(tiff(scene.pixels[..., :3], photometric="rgb"))
        if k != 2:
            half = (scene.label_map % 2 == 1).astype(np.uint8) * 255
            (root / f"{stem}_mask.png").write_bytes(png(half))
    return root


DATASET = Dataset(
    name="janowczyk",
    title="Janowczyk & Madabhushi, nuclei use case",
    description="ER+ breast cancer H&E at 40x, 143 images of 2000 × 2000 with some 12,000 nuclei annotated. Annotation "
    "is partial: a nucleus without a mask is not background, and touching nuclei are one component.",
    licence="none stated",
    redistribute=False,
    citation="Janowczyk, Madabhushi: Deep learning for digital pathology image analysis: a comprehensive tutorial with "
    "selected use cases. Journal of Pathology Informatics 7:29 (2016)",
    doi="10.4103/2153-3539.186902",
    source="http://andrewjanowczyk.com/deep-learning/",
    modality=("histology",),
    target=("nucleus",),
    tissues=("Breast",),
    group="patient",
    counts={("", "images"): 143, ("", "instances"): 12_000},
    files=(
        File(
            "http://andrewjanowczyk.com/wp-static/nuclei.tgz",
            "nuclei.tgz",
            sha256="cb881c29d9f0ae5ad1d953160a4e00be70af329e0351eed614d51b4b66c65e6b",
        ),
    ),
    layout="<patient>_<mag>_f<NNNNN>_original.tif\n<patient>_<mag>_f<NNNNN>_mask.png   (no top folder)",
    expected_findings=("missing-annotation", "partial-annotation"),
    damages=(
        Damage("*_f00003_original.tif", "missing-image", "unreadable-image"),
        Damage("*_f00003_mask.png", "missing-annotation", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
