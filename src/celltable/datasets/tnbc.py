"""TNBC: triple-negative breast cancer, H&E at 40x, semantic masks; patients are slides (Naylor et al. 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from celltable.cells import Finding, Instances, Sample
from celltable.geometry import label_map
from celltable.imagefile import Entry, Release
from celltable.plugins.dataset import Damage, Dataset, File, Scan

from ._read import fitting_mask, image_of, png, sample, unlabelled, unreadable_is_a_finding

IMAGE = r"Slide_(?P<slide>\d{2})/(?P<stem>\d{2}_\d+)\.png"
MASK = r"GT_(?P<slide>\d{2})/(?P<stem>\d{2}_\d+)\.png"


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """Pair images and masks by slide and stem."""
    masks = {m["stem"]: e for e, m in release.match(MASK)}
    images = {m["stem"]: (e, m["slide"]) for e, m in release.match(IMAGE)}
    findings = [
        Finding("missing-image", f"GT {stem} has no image; expected Slide_{stem[:2]}/{stem}.png", "error")
        for stem in sorted(masks.keys() - images.keys())
    ]
    items = [(stem, entry, slide, masks.get(stem)) for stem, (entry, slide) in sorted(images.items())]
    return Scan(items, tuple(findings))


@unreadable_is_a_finding
def load(release: Release, shared: Any, item: tuple[str, Entry, str, Entry | None]) -> Sample:
    """Read an image; the masks are semantic, so cells are their 8-connected components."""
    stem, entry, slide, mask_entry = item
    image = image_of(
        release, stem, entry, whole=True, modality="histology", tissue="Breast", magnification=40.0,
        leakage_group=f"patient {slide}",
        group_source="published", metadata={"slide": slide, "instances": "8-connected components of a semantic mask"},
    )  # fmt: skip
    if mask_entry is None:
        return unlabelled(release, image, Finding("missing-annotation", f"no GT_{slide}/{stem}.png", "error", stem))
    findings: list[Finding] = []
    mask = fitting_mask(release, mask_entry, image, findings)
    if mask is None:
        return unlabelled(release, image, *findings)
    plane = mask if mask.ndim == 2 else mask[..., 0]
    strange = np.setdiff1d(np.unique(plane), (0, 255))
    if strange.size:
        text = (
            f"{mask_entry.name} holds values other than 0 and 255, such as {strange[0]}; all non-zero count as nucleus"
        )
        findings.append(Finding("mask-values", text, "warning", stem, value=float(strange.size)))
    cells = Instances.from_label_map(label_map.components(plane > 0, connectivity=8), annotator="manual")
    return sample(release, image, cells.with_columns(source_id=None), findings)


def example(folder: Path, seed: int = 0) -> Path:
    """Write two patients: RGBA and RGB images, a speck, a stray Mac folder."""
    from celltable.synthetic import generate

    root = folder / "TNBC_NucleiSegmentation"
    for slide, n in ((1, 2), (2, 1)):
        for i in range(1, n + 1):
            scene = generate("histology", size=(96, 128), cells=9, seed=seed * 100 + slide * 10 + i)
            rgb = scene.pixels
            alpha = np.full((*rgb.shape[:2], 1), 255, np.uint8)
            mask = np.where(scene.label_map > 0, 255, 0).astype(np.uint8)
            mask[0, 0] = 255  # a speck
            name = f"{slide:02d}_{i}.png"
            for part, data in (
                ("Slide", png(rgb if i == 2 else np.concatenate([rgb, alpha], axis=2))),
                ("GT", png(mask)),
            ):
                target = root / f"{part}_{slide:02d}" / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._01_1.png").write_bytes(b"\0")
    return root


DATASET = Dataset(
    name="tnbc",
    title="TNBC nuclei segmentation",
    description="H&E images of triple-negative breast cancer at 40x from 11 patients with manual nucleus masks. The "
    "masks are semantic: touching nuclei are one component.",
    licence="CC BY 4.0",
    citation="Naylor, Laé, Reyal, Walter: Segmentation of nuclei in histopathology images by deep regression of the "
    "distance map. IEEE Transactions on Medical Imaging 38:448 (2019)",
    doi="10.1109/TMI.2018.2865709",
    source="https://zenodo.org/record/1175282",
    modality=("histology",),
    target=("nucleus",),
    tissues=("Breast",),
    group="patient (slide)",
    counts={("", "images"): 50, ("", "instances"): 4022},
    files=(
        File(
            "https://zenodo.org/record/1175282/files/TNBC_NucleiSegmentation.zip",
            "TNBC_NucleiSegmentation.zip",
            sha256="da708c3a988f4ad4b9bbb9283b387faf703f0bc0e5e689927306bd27ea13a57f",
        ),
    ),
    layout="TNBC_NucleiSegmentation/Slide_<SS>/<SS>_<i>.png\nTNBC_NucleiSegmentation/GT_<SS>/<SS>_<i>.png",
    protocols=("aji_kumar2017", "pq_hovernet"),
    damages=(
        Damage("Slide_01/01_1.png", "missing-image", "unreadable-image"),
        Damage("GT_01/01_1.png", "missing-annotation", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
