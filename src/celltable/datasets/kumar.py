"""Kumar 2017 and MoNuSeg: H&E at 40x from TCGA, nuclei outlined in Aperio XML (Kumar et al. 2017, 2020)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from celltable.cells import Finding, Sample
from celltable.errors import ArchiveError, InputError
from celltable.imagefile import Entry, Release
from celltable.notation import aperio
from celltable.plugins.dataset import Damage, Dataset, Scan
from celltable.rules import rule

from ._read import image_of, sample, tiff, unlabelled, unreadable_is_a_finding

rule(
    "missing-scale",
    "Missing pixel size",
    "note",
    "The document does not state MicronsPerPixel; areas are known only in px².",
    emitter="ingest kumar",
)

NAME: Final = r"(?P<stem>TCGA-(?P<site>\w{2})-(?P<patient>\w{4})-\d{2}\w-\d{2}-\w{3})"
ORGANS: Final = {
    "Breast": "A7-A13E A7-A13F AR-A1AK AR-A1AS E2-A1B5 E2-A14V",
    "Kidney": "B0-5711 HE-7128 HE-7129 HE-7130 B0-5710 B0-5698",
    "Liver": "18-5592 38-6178 49-4488 50-5931 21-5784 21-5786",
    "Prostate": "G9-6336 G9-6348 G9-6356 G9-6363 CH-5767 G9-6362",
    "Bladder": "DK-A2I6 G2-A2EK",
    "Colon": "AY-A8YK NH-A8F7",
    "Stomach": "KB-A93J RD-A8N9",
}
_ORGAN: Final = {patient: organ for organ, patients in ORGANS.items() for patient in patients.split()}


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """Pair TIFF and XML by name; MoNuSeg is recognised by its folder."""
    documents = {m["stem"]: e for e, m in release.match(rf"{NAME}\.xml")}
    images = {m["stem"]: (e, m) for e, m in release.match(rf"{NAME}\.tif")}
    findings = [
        Finding("missing-image", f"{stem}.xml has no image {stem}.tif", "error")
        for stem in sorted(documents.keys() - images.keys())
    ]
    items = []
    for stem, (entry, m) in sorted(images.items()):
        part = _part(release, entry)
        if not parts or part in parts:
            items.append((stem, entry, documents.get(stem), f"{m['site']}-{m['patient']}", part))
    return Scan(items, tuple(findings))


def _part(release: Release, entry: Entry) -> str:
    path = f"{release.path.name}/{entry.source}/{entry.name}".lower()
    if "monuseg" not in path:
        return "kumar"
    return "monuseg_test" if "test" in path else "monuseg_train"


@unreadable_is_a_finding
def load(release: Release, shared: Any, item: tuple[str, Entry, Entry | None, str, str]) -> Sample:
    """Read an image: each Region of three or more vertices is a nucleus, with its polygon, in document order."""
    stem, entry, document, patient, part = item
    image = image_of(
        release, stem, entry, whole=True, modality="histology", magnification=40.0, tissue=_ORGAN.get(patient),
        leakage_group=f"TCGA-{patient}", group_source="published", metadata={"part": part},
        split=None if part == "kumar" else part.removeprefix("monuseg_"),
    )  # fmt: skip
    if document is None:
        return unlabelled(release, image, Finding("missing-annotation", f"{stem}.xml is missing", "error", stem))
    try:
        annotation = aperio.parse(release.read(document), document.name)
    except (InputError, ArchiveError) as exc:
        return unlabelled(release, image, Finding("unreadable-annotations", str(exc), "error", stem))
    findings: list[Finding] = []
    if annotation.scale is None:
        findings.append(Finding("missing-scale", "MicronsPerPixel is absent; the pixel size is unknown", "note", stem))
    else:
        image = replace(image, pixel_size_um=float(np.float32(annotation.scale)))
    good = []
    for k, ring in enumerate(annotation.rings):
        if len(ring) >= 6 and np.isfinite(ring).all():
            good.append(k)
        else:
            text = (
                f"region {k + 1} of the document has {len(ring) // 2} vertices; expected three or more; it was left out"
            )
            findings.append(Finding("invalid-segmentation", text, "warning", stem, value=len(ring) / 2))
    cells = aperio.cells_of(annotation, good, image, findings)
    return sample(release, image, cells.with_columns(instance_id=None, class_name=None, annotator="manual"), findings)


def example(folder: Path, seed: int = 0) -> Path:
    """Write two benchmark images and a MoNuSeg test image: vertices outside, NegativeROA, overlap, a missing scale."""
    root = folder / "tcga"
    benchmark, monuseg = root / "nucleisegmentationbenchmark", root / "MoNuSegTestData"
    for k, stem in enumerate(("TCGA-21-5784-01Z-00-DX1", "TCGA-NH-A8F7-01A-01-TS1")):
        _write(benchmark / "Tissue images", benchmark / "Annotations", stem, seed * 100 + k, 0.252 if k == 0 else None)
    _write(monuseg, monuseg, "TCGA-2Z-A9J9-01A-01-TS1", seed * 100 + 2, 0.252)
    return root


def _write(images: Path, documents: Path, stem: str, seed: int, scale: float | None) -> None:
    from celltable.geometry import masks, outline
    from celltable.synthetic import generate

    for folder in (images, documents):
        folder.mkdir(parents=True, exist_ok=True)
    scene = generate("histology", size=(120, 120), cells=10, seed=seed)
    image = tiff(scene.pixels[..., :3], compression="lzw", predictor=2, photometric="rgb")
    (images / f"{stem}.tif").write_bytes(image)
    _, outlined = masks.from_label_map(scene.label_map)
    rings = [r.points_xy.astype(float).tolist() for cell in outline.polygons(outlined) for r in cell if not r.hole]
    rings[0] = [[x - 2.5 if x < 60 else x, y] for x, y in rings[0]] + [[-2.5, 60.0]]
    rings.append([[x + 3.25, y + 1.5] for x, y in rings[1]])  # overlaps its neighbour
    rings.append([[5.0, 5.0], [6.0, 6.0]])
    (documents / f"{stem}.xml").write_text(_document(rings, scale), encoding="utf-8")


def _document(rings: list[list[list[float]]], scale: float | None) -> str:
    regions = []
    for k, ring in enumerate(rings):
        vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0" />' for x, y in ring)
        head = f'<Region Id="{k * 2 + 1}" Type="0" NegativeROA="{int(k == 2)}" Area="0.0" Length="0.0">'
        regions.append(f"{head}<Vertices>{vertices}</Vertices></Region>")
    body = f'<Annotation Id="1" Type="4" LineColor="65280"><Regions>{"".join(regions)}</Regions></Annotation>'
    attribute = "" if scale is None else f' MicronsPerPixel="{scale}"'
    return f"<Annotations{attribute}>{body}</Annotations>"


DATASET = Dataset(
    name="kumar",
    title="Kumar nuclei segmentation benchmark and MoNuSeg",
    description="H&E images of 1000 × 1000 at 40x from TCGA, seven organs, every nucleus outlined. MoNuSeg 2018 "
    "contains these 30 images as training and adds a test set. Polygons overlap and reach outside the image.",
    licence="CC BY-NC-SA 4.0",
    non_commercial=True,
    redistribute=False,
    citation="Kumar et al.: A dataset and a technique for generalized nuclear segmentation for computational "
    "pathology. "
    "IEEE Transactions on Medical Imaging 36:1550 (2017); Kumar et al.: A multi-organ nucleus segmentation challenge. "
    "IEEE Transactions on Medical Imaging 39:1380 (2020)",
    doi="10.1109/TMI.2017.2677499",
    source="https://nucleisegmentationbenchmark.weebly.com/dataset.html",
    modality=("histology",),
    target=("nucleus",),
    tissues=tuple(ORGANS),
    group="patient",
    parts=("kumar", "monuseg_train", "monuseg_test"),
    counts={
        ("kumar", "images"): 30,
        ("kumar", "instances"): 21_623,
        ("monuseg_train", "images"): 37,
        ("monuseg_test", "images"): 14,
    },
    files=(),
    access="by hand",
    how_to_get="Download the archive from https://nucleisegmentationbenchmark.weebly.com/dataset.html (Google Drive), "
    "MoNuSeg from https://monuseg.grand-challenge.org/Data/.",
    layout="Tissue images/TCGA-….tif and Annotations/TCGA-….xml\n"
    "MoNuSeg 2018 Training Data/{Tissue Images,Annotations}/…\nMoNuSegTestData/TCGA-….{tif,xml}",
    protocols=("aji_kumar2017",),
    expected_findings=("invalid-segmentation", "negative-roa", "outside-image", "missing-scale"),
    damages=(
        Damage(
            "Tissue images/*.tif", "missing-image", "unreadable-image", smaller=""
        ),  # documents do not state the size
        Damage("Annotations/*.xml", "missing-annotation", "unreadable-annotations", smaller=""),
    ),
    scan=scan,
    load=load,
    example=example,
)
