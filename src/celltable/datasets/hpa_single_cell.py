"""HPA single-cell classification 2021: four-channel images, weak image-level labels of 19 classes (Le et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import ArchiveError, ImageFileError
from celltable.imagefile import Entry, Release
from celltable.notation.hpa import CLASSES
from celltable.plugins.dataset import Damage, Dataset, Scan
from celltable.rules import rule

from ._hpa_tables import Labelled, read_labels
from ._read import image_of, located, png, read_or_finding, sample, size_finding, unreadable_is_a_finding

rule(
    "mask-wrap",
    "Labels that wrapped around",
    "warning",
    "An 8-bit label map with more than 255 cells: several cells share a label.",
    emitter="ingest hpa_single_cell",
)
rule(
    "predicted-masks",
    "Predicted cells",
    "note",
    "The masks are predictions of HPA-Cell-Segmentation, not ground truth.",
    emitter="ingest hpa_single_cell",
)

CHANNELS: Final = {"red": "microtubules", "green": "protein", "blue": "nucleus", "yellow": "ER"}
# the challenge's ids, and the atlas's own names: plate, well and field, with or without the antibody before them
ID: Final = r"(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?:[0-9]+_){1,2}[A-Z][0-9]{1,2}_[0-9]+)"
IMAGE: Final = rf"(?:(?P<folder>train|test)/)?{ID}_(?P<channel>red|green|blue|yellow)\.(?:png|tiff?)"
MASK: Final = rf"{ID}_(?:predicted|cell)mask\.png"
NUCLEI: Final = rf"{ID}_nucle(?:i|us)mask\.png"


@dataclass(frozen=True, slots=True)
class Item:
    """An image: its channels by role, its part, and predicted masks beside it."""

    image_id: str
    part: str
    channels: dict[str, Entry]
    cells: Entry | None
    nuclei: Entry | None


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List images of four channel files, with the labels of train.csv or of a table of the atlas."""
    quartets: dict[str, dict[str, Entry]] = {}
    part_of: dict[str, str] = {}
    for entry, m in release.match(IMAGE):
        quartets.setdefault(m["id"], {})[m["channel"]] = entry
        part_of[m["id"]] = m["folder"] or ("test" if "test" in entry.source.lower() else "train")
    findings: list[Finding] = []
    labels = read_labels(release, quartets, findings)
    cells = {m["id"]: e for e, m in release.match(MASK)}
    nuclei = {m["id"]: e for e, m in release.match(NUCLEI)}
    items = [
        Item(i, part_of[i], quartets[i], cells.get(i), nuclei.get(i))
        for i in sorted(quartets)
        if not parts or part_of[i] in parts
    ]
    absent = sum(i not in quartets for i in labels)
    if absent:
        text = f"the label tables list {len(labels):,} images; {absent:,} of them are missing"
        findings.append(Finding("unknown-image", text, "note", value=float(absent)))
    return Scan(items, tuple(findings), labels)


@unreadable_is_a_finding
def load(release: Release, shared: dict[str, Labelled], item: Item) -> Sample:
    """Read an image of four channels; its labels are weak: they describe the image, not each cell.

    It has cells only if masks of HPA-Cell-Segmentation are beside the images; these are predictions, not ground truth.
    """
    findings = [
        Finding("missing-channel", f"the {c} channel is missing", "error", item.image_id)
        for c in CHANNELS
        if c not in item.channels
    ]
    candidates = [item.channels[c] for c in ("blue", *CHANNELS) if c in item.channels]
    first = next((e for e in candidates if _readable(release, e)), candidates[0])
    labelled = shared.get(item.image_id)
    roles = [c for c in CHANNELS if c in item.channels]
    image = image_of(
        release, item.image_id, first, channels=tuple(roles), modality="fluorescence", split=item.part, annotated=False,
        pixels=tuple(located(item.channels[c], role=c) for c in roles),
        labels=None if labelled is None else tuple(CLASSES[n] for n in labelled.numbers),
        cell_type=None if labelled is None else labelled.cell_line,
        metadata={} if labelled is None else labelled.metadata,
    )  # fmt: skip
    findings += _unequal(release, item, image, roles)
    cells = _predicted(release, item, image, findings)
    if len(cells):
        image = replace(image, annotated=True, exhaustive=False)
    return sample(release, image, cells, findings)


def _readable(release: Release, entry: Entry) -> bool:
    try:
        release.image_info(entry)
    except (ImageFileError, ArchiveError):
        return False
    return True


def _unequal(release: Release, item: Item, image: Image, roles: list[str]) -> list[Finding]:
    findings = []
    for role in roles:
        try:
            info = release.image_info(item.channels[role])
        except (ImageFileError, ArchiveError) as exc:
            findings.append(Finding("unreadable-image", str(exc), "error", item.image_id))
            continue
        if (info.height, info.width) != image.size or info.dtype != image.dtype:
            mine, others = f"{info.height} × {info.width} {info.dtype}", f"{image.height} × {image.width} {image.dtype}"
            text = f"{role} is {mine}, the others are {others}"
            findings.append(Finding("size-mismatch", text, "error", item.image_id))
    return findings


def _predicted(release: Release, item: Item, image: Image, findings: list[Finding]) -> Instances:
    """Make cells, and nuclei with the same ids, from predicted masks."""
    masks = [_mask(release, entry, image, findings) for entry in (item.cells, item.nuclei)]
    if masks[0] is None:
        return Instances.empty(image.size)
    text = "the cells are predictions of HPA-Cell-Segmentation, not ground truth"
    findings.append(Finding("predicted-masks", text, "note", item.image_id))
    if masks[0].dtype == np.uint8 and int(masks[0].max()) == 255:
        text = "an 8-bit mask uses all 255 labels: cells beyond 255 have wrapped around and share labels"
        findings.append(Finding("mask-wrap", text, "warning", item.image_id))
    cells = Instances.from_label_map(masks[0], kind="cell", annotator="HPA-Cell-Segmentation")
    if masks[1] is None:
        return cells
    nuclei = Instances.from_label_map(masks[1], kind="nucleus", annotator="HPA-Cell-Segmentation")
    number = {s: k + 1 for k, s in enumerate(cells.column("source_id"))}
    parents = [None] * len(cells) + [number.get(s) for s in nuclei.column("source_id")]
    return Instances.concat([cells, nuclei]).with_columns(parent=parents)


def _mask(release: Release, entry: Entry | None, image: Image, findings: list[Finding]) -> NDArray[Any] | None:
    if entry is None:
        return None
    mask, problems = read_or_finding(release, entry, image.image_id)
    if mask is not None and (wrong := size_finding(mask, image, entry.name)):
        mask, problems = None, wrong
    findings += problems
    return mask


def example(folder: Path, seed: int = 0) -> Path:
    """Write train.zip, test.zip, train.csv, the sample submission and predicted masks; one image lacks a channel."""
    from celltable.synthetic import generate

    from ._example import guid, write_zip

    root = folder / "hpa-single-cell-image-classification"
    root.mkdir(parents=True)
    train: dict[str, bytes] = {}
    masks: dict[str, bytes] = {}
    rows = ["ID,Label"]
    for k in range(3):
        scene = generate("four-channel", size=(128, 128), cells=6, seed=seed * 100 + k)
        image_id = guid(seed, k)
        for c, role in enumerate(("red", "green", "blue", "yellow")):
            if (k, role) != (2, "yellow"):
                train[f"{image_id}_{role}.png"] = png(scene.pixels[..., c])
        if k < 2:
            masks[f"{image_id}_predictedmask.png"] = png(scene.label_map.astype(np.uint8))
        rows.append(f"{image_id},{'8|5|0' if k == 0 else 16 - k}")
    rows.append(f"{guid(seed, 99)},18")
    write_zip(root / "train.zip", train)
    pixels = generate("four-channel", size=(128, 128), cells=6, seed=seed * 100 + 50).pixels
    roles = ("red", "green", "blue", "yellow")
    write_zip(root / "test.zip", {f"{guid(seed, 50)}_{r}.png": png(pixels[..., c]) for c, r in enumerate(roles)})
    write_zip(root / "cell_masks_predicted.zip", masks)
    (root / "train.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    line = f"{guid(seed, 50)},2048,2048,0 1 eNoLCAgIMAEABJkBdQ=="
    (root / "sample_submission.csv").write_text(
        f"ID,ImageWidth,ImageHeight,PredictionString\n{line}\n", encoding="utf-8"
    )
    return root


DATASET = Dataset(
    name="hpa_single_cell",
    title="Human Protein Atlas, single-cell classification 2021",
    description="Confocal images of 17 cell lines in four channels (microtubules, protein, nucleus, ER) with weak "
    "labels: the classes seen in the image, not those of each cell. Training images have no masks.",
    licence="CC BY-SA (version not confirmed), and the competition's rules",
    redistribute=False,
    citation="Le et al.: Analysis of the Human Protein Atlas weakly supervised single-cell classification competition. "
    "Nature Methods 19:1221 (2022)",
    doi="10.1038/s41592-022-01606-z",
    source="https://www.kaggle.com/competitions/hpa-single-cell-image-classification/data",
    access="login",
    how_to_get="1. Make a Kaggle account and accept the rules on the competition's page.\n"
    "2. Download train.zip (or the images you need), train.csv and sample_submission.csv from its Data tab, or run\n"
    "   kaggle competitions download -c hpa-single-cell-image-classification.\n"
    "3. Put them into one folder and ingest that.",
    modality=("fluorescence",),
    target=("cell", "nucleus"),
    classes=CLASSES,
    group="sample (not published; up to six images share one)",
    parts=("train", "test"),
    counts={("train", "images"): 21_806, ("test", "images"): 1776},
    layout="train.zip or train/<ID>_{red,green,blue,yellow}.png (or .tif)\ntest/…\ntrain.csv\nsample_submission.csv\n"
    "or images of the public atlas, <plate>_<well>_<field>_{red,green,blue,yellow}.png (or .tif), and their table:\n"
    "kaggle_2021.tsv (Image,Label), or ID,Gene beside the atlas's subcellular_location.tsv",
    protocols=("map_hpa2021",),
    expected_findings=("missing-channel", "predicted-masks", "unknown-image"),
    damages=(
        Damage("*_green.png", "missing-channel", "unreadable-image", "truncated-image"),
        Damage("*_predictedmask.png", "", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
