"""Cluster nuclei: immunohistochemistry with touching nuclei, contours drawn in pure red on a copy (Shu et al. 2015)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.geometry import outline
from celltable.imagefile import Entry, Release
from celltable.plugins.dataset import Damage, Dataset, File, Scan
from celltable.rules import rule

from ._channels import decoded
from ._outlines import Mask, open_contours
from ._read import image_of, png, read_or_finding, sample, size_finding, unlabelled

rule(
    "near-red",
    "Nearly red pixels",
    "warning",
    "Only pure red counts as outline, so nearly red pixels may leave an outline open. Value: pixels.",
    emitter="ingest cluster_nuclei",
)

IMAGE: Final = r"(?i:original)/(?P<key>[^/.]+)\.[^/]*?(?i:bmp|png|tiff?|jpe?g)"
LABEL: Final = r"(?i:label)/(?P<key>[^/]+?)\(label\)\.(?i:bmp)"
RED: Final = (255, 0, 0)
NEAR: Final = 60  # a pixel this close to red in every channel was meant to be part of a contour
MIN_AREA_PX: Final = 5


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """Pair images and labels by the name up to the first dot, without "(label)"."""
    labels = {m["key"].split(".")[0]: e for e, m in release.match(LABEL)}
    images = {m["key"]: e for e, m in release.match(IMAGE)}
    findings = [
        Finding("missing-image", f"label/{key}(label).bmp has no image; expected original/{key}.*", "error")
        for key in sorted(labels.keys() - images.keys())
    ]
    return Scan([(key, images[key], labels.get(key)) for key in sorted(images)], tuple(findings))


def load(release: Release, shared: Any, item: tuple[str, Entry, Entry | None]) -> Sample:
    """Read an image; nuclei are what the contours enclose, and the image frame closes contours that it cuts."""
    key, entry, label = item
    findings: list[Finding] = []
    pixels = decoded(release, "image", entry, key, findings)
    image = Image(key, 0, 0, modality="histology", leakage_group=key, group_source="derived")
    if pixels is not None:
        image = image_of(release, key, entry, modality="histology", leakage_group=key, group_source="derived")
    if label is None:
        return unlabelled(
            release, image, *findings, Finding("missing-annotation", f"no label/{key}(label).bmp", "error", key)
        )
    drawing, wrong = read_or_finding(release, label, key)
    findings += wrong
    if drawing is None:
        return unlabelled(release, image, *findings)
    if pixels is None:
        image = replace(image, height=int(drawing.shape[0]), width=int(drawing.shape[1]))
    findings += size_finding(drawing, image, label.name)
    if drawing.shape[:2] != image.size or drawing.ndim != 3:
        return unlabelled(release, image, *findings)
    red, near = _red(drawing)
    if near:
        text = f"{near} pixels are nearly but not exactly (255, 0, 0); only exact red is contour"
        findings.append(Finding("near-red", text, "warning", key, value=float(near)))
    framed = red.copy()
    framed[[0, -1]] = True
    framed[:, [0, -1]] = True
    labels = outline.fill_outlines(framed, connectivity=4, drop="largest", min_area=MIN_AREA_PX)
    findings += open_contours(red, labels, key, label.name)
    cells = Instances.from_label_map(labels, annotator="manual").with_columns(source_id=None)
    return sample(release, image, cells, findings) if image.pixels else Sample(image, cells, tuple(findings))


def _red(drawing: NDArray[Any]) -> tuple[Mask, int]:
    """Return the pure red pixels of a drawing, and how many are nearly red."""
    distance = np.abs(drawing[..., :3].astype(np.int16) - np.array(RED)).max(axis=2)
    return distance == 0, int(np.count_nonzero((distance > 0) & (distance <= NEAR)))


def example(folder: Path, seed: int = 0) -> Path:
    """Write three images: names with dots, shared contours, one open, one cut by the frame, a near red."""
    from celltable.synthetic import generate

    from ._example import bitmap, litter_files, outer_line, write_files

    files: dict[str, bytes] = {}
    for i, name in enumerate(("1", "2.mid", "3")):
        scene = generate("histology", size=(100, 100), cells=9, seed=seed * 10 + i)
        drawn = np.ascontiguousarray(scene.pixels[..., :3]).copy()
        drawn[outer_line(scene.label_map)] = RED
        if i == 1:
            drawn[[2, 2, 2, 3], [2, 3, 4, 4]] = RED  # an open stroke
            drawn[6, 6] = (250, 4, 4)
        files[f"original/{name}.bmp" if i else f"original/{name}.png"] = (
            bitmap(scene.pixels[..., :3]) if i else png(scene.pixels[..., :3])
        )
        files[f"label/{name.split('.')[0]}(label).bmp"] = bitmap(drawn)
    files["label/9(label).bmp"] = bitmap(drawn)
    return write_files(folder / "cluster nuclei", {**files, **litter_files()})


DATASET = Dataset(
    name="cluster_nuclei",
    title="Nuclei Dataset of the IHC Image Analysis Toolbox (cluster nuclei)",
    description="Immunohistochemistry of 200 × 200 px, brown and blue, with touching nuclei. The label is a copy of "
    "the image with contours in pure red; touching nuclei share one line, which does not belong to any nucleus.",
    licence="none stated; do not redistribute",
    redistribute=False,
    citation="Shu, Qiu, Ilyas: Immunohistochemistry (IHC) Image Analysis Toolbox. ImageJ plugin (2015)",
    source="https://imagej.nih.gov/ij/plugins/ihc-toolbox/index.html",
    modality=("histology",),
    target=("nucleus",),
    group="image",
    counts={("", "images"): 52},
    files=(File("https://www.dropbox.com/s/9knzkp9g9xt6ipb/cluster%20nuclei.zip?dl=1", "cluster nuclei.zip"),),
    how_to_get="Free. If the link is dead, ask the authors of the toolbox.",
    layout="cluster nuclei/original/<name>.bmp (or png, tif, jpg)\ncluster nuclei/label/<name>(label).bmp",
    expected_findings=("missing-image", "near-red", "open-outline"),
    damages=(
        Damage("original/3.bmp", "missing-image", "unreadable-image"),
        Damage("label/3(label).bmp", "missing-annotation", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
