"""PanNuke: H&E nuclei of five classes in 19 tissues, three folds of NumPy arrays (Gamper et al. 2019, 2020)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample, Severity
from celltable.errors import ReleaseError
from celltable.geometry import label_map
from celltable.imagefile import Entry, Release, let_go
from celltable.notation.pannuke import CLASS_NAMES, cells_of_channels
from celltable.plugins.dataset import STOPS, Damage, Dataset, File, Scan
from celltable.rules import rule

from ._read import located, sample

rule(
    "cross-class-overlap",
    "Nuclei of two classes on the same pixels",
    "warning",
    "Two class channels claim the same pixel; both nuclei keep it. Value: pixels.",
    emitter="ingest pannuke",
)
rule(
    "void-pixels",
    "Pixels that are neither nucleus nor background",
    "warning",
    "All six channels are zero there. Value: pixels.",
    emitter="ingest pannuke",
)
rule(
    "missing-tissues",
    "Missing tissue types",
    "error",
    "types.npy is missing or differs in length from the images; tissues are left out.",
    emitter="ingest pannuke",
)
rule(
    "unknown-tissue",
    "Unknown tissue",
    "warning",
    "The tissue is not one of the 19 published ones.",
    emitter="ingest pannuke",
)

TISSUES: Final = (
    "Adrenal_gland", "Bile-duct", "Bladder", "Breast", "Cervix", "Colon", "Esophagus", "HeadNeck", "Kidney", "Liver",
    "Lung", "Ovarian", "Pancreatic", "Prostate", "Skin", "Stomach", "Testis", "Thyroid", "Uterus",
)  # fmt: skip
ARRAY: Final = r"(?:images|masks)/fold(?P<fold>\d+)/(?P<what>images|masks|types)\.npy"


@dataclass(frozen=True, slots=True)
class Fold:
    """The arrays of a fold, memory-mapped; only the header of images is read."""

    images: Entry
    shape: tuple[int, ...]
    dtype: str
    masks: NDArray[Any] | None
    types: NDArray[Any] | None


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List patches as (fold, row); only the headers of the arrays are read."""
    arrays_of: dict[str, dict[str, Entry]] = {}
    for entry, match in release.match(ARRAY):
        arrays_of.setdefault(f"fold{match['fold']}", {})[match["what"]] = entry
    findings: list[Finding] = []
    folds: dict[str, Fold] = {}
    items: list[tuple[str, int]] = []
    for name in sorted(arrays_of, key=_natural):
        if parts and name not in parts:
            continue
        arrays = arrays_of[name]
        if "images" not in arrays:
            findings.append(Finding("missing-image", f"{name} does not have images.npy; it was left out", "error"))
            continue
        images = release.memmap(arrays["images"])
        if len(images.shape) != 4 or images.shape[3] != 3:
            raise ReleaseError(f"{name}/images.npy has shape {images.shape}; expected (patches, rows, columns, 3).")
        annotation = _annotation(release, arrays, name, images.shape, findings)
        folds[name] = Fold(arrays["images"], images.shape, str(images.dtype), *annotation)
        items += [(name, row) for row in range(len(images))]
    return Scan(items, tuple(findings), folds)


def _natural(name: str) -> list[Any]:
    return [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", name)]


def _annotation(
    release: Release, arrays: dict[str, Entry], name: str, shape: tuple[int, ...], findings: list[Finding]
) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    masks = release.memmap(arrays["masks"]) if "masks" in arrays else None
    types = release.memmap(arrays["types"]) if "types" in arrays else None
    if masks is None:
        findings.append(
            Finding("missing-annotation", f"{name} does not have masks.npy; its patches are unlabelled", "error")
        )
    elif masks.shape != (*shape[:3], 6):
        raise ReleaseError(f"{name}/masks.npy has shape {masks.shape}; expected {(*shape[:3], 6)} like its images.")
    if types is None or types.shape != shape[:1]:
        n_types = "no" if types is None else f"{types.shape[0]:,}"
        text = f"{name} has {shape[0]:,} patches and {n_types} tissue types; tissues are left out"
        findings.append(Finding("missing-tissues", text, "error"))
        types = None
    return masks, types


def load(release: Release, shared: dict[str, Fold], item: tuple[str, int]) -> Sample:
    """Read a patch: each distinct non-zero value in the channels 0-4 is a nucleus of that class."""
    name, row = item
    fold = shared[name]
    height, width = fold.shape[1:3]
    image_id = f"{name}_{row:04d}"
    tissue = None if fold.types is None else str(fold.types[row])
    image = Image(
        image_id, int(height), int(width), pixels=(located(fold.images, index=row),), channels=("red", "green", "blue"),
        dtype=fold.dtype, modality="histology", tissue=tissue, split=name,
        leakage_group=name, group_source="published", magnification=40.0, pixel_size_um=0.25,
        annotated=fold.masks is not None, metadata={"row": str(row)},
    )  # fmt: skip
    findings = [] if tissue is None or tissue in TISSUES else [_unknown_tissue(image_id, tissue)]
    if fold.masks is None:
        return sample(release, image, Instances.empty(image.size), findings)
    layers = label_map.layers(fold.masks[row], len(CLASS_NAMES))
    let_go(fold.masks, row)
    cells = cells_of_channels(layers, annotator="semi-automatic")
    findings += _defects(layers, cells, image_id)
    return sample(release, image, cells, findings)


def _unknown_tissue(image_id: str, tissue: str) -> Finding:
    return Finding("unknown-tissue", f"the tissue '{tissue}' is not one of the 19 published", "warning", image_id)


def _defects(layers: label_map.Layers, cells: Instances, image_id: str) -> Iterator[Finding]:
    """Report known defects that are only visible in the published channels; ids exceed 255 and are float64."""

    def defect(name: str, n: int, text: str, severity: Severity = "warning") -> Finding:
        return Finding(name, f"{n:,} {text}", severity, image_id, value=float(n))

    if strange := int(layers.strange.sum()):
        text = "mask values are not whole numbers of 0 or more; they count as background"
        yield defect("mask-values", strange, text, "error")
    if layers.shared:
        yield defect("cross-class-overlap", layers.shared, "px are in nuclei of two classes")
    if layers.unclaimed == layers.flat.size:
        yield Finding("void-patch", "all six channels are zero: neither nuclei nor background", "warning", image_id)
    elif layers.unclaimed:
        yield defect("void-pixels", layers.unclaimed, "px are neither nucleus nor background")
    if len(cells):
        _, parts = cells.rle.count_components()
        for position in np.flatnonzero(parts > 1).tolist():
            text = f"the id {cells.column('source_id')[position]} is split over {int(parts[position])} components"
            yield Finding("several-components", text, "warning", image_id, position + 1, float(parts[position]))


def example(folder: Path, seed: int = 0) -> Path:
    """Write two folds of three patches: ids past 255 with gaps, two classes on a pixel, void pixels, a void patch."""
    from celltable.synthetic import generate

    for k in (1, 2):
        images, masks = np.zeros((3, 64, 64, 3)), np.zeros((3, 64, 64, 6))
        for row in range(2):
            scene = generate("histology", size=(64, 64), cells=8, seed=seed * 100 + 10 * k + row)
            images[row] = scene.pixels[..., :3]
            for label, name in enumerate(scene.classes, 1):
                channel = next((c for c, n in enumerate(CLASS_NAMES) if n.lower() == str(name).lower()), label % 5)
                masks[row, ..., channel][scene.label_map == label] = label * 37 + 250
            masks[row, ..., 5] = scene.label_map == 0
        images[2] = images[0][::-1]
        if k == 1:
            first = np.argwhere(masks[0, ..., :5].any(axis=2))[0]
            masks[0, first[0], first[1], :2] = 3000  # one pixel in two classes
            masks[1, 0, :4, :] = 0  # void
            masks[1, 60:62, 2, 0] = masks[1, 60:62, 60, 0] = 3501  # one id, two components
        for what, array in (("images", images), ("masks", masks)):
            path = folder / f"Fold {k}" / what / f"fold{k}" / f"{what}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
        np.save(folder / f"Fold {k}" / "images" / f"fold{k}" / "types.npy", np.array(["Breast", "Colon", "Bile-duct"]))
    return folder


def _rotation(train: int, val: int, test: int) -> dict[str, str]:
    return {f"fold{train}": "train", f"fold{val}": "val", f"fold{test}": "test"}


_PER_FOLD = ((2656, 63218), (2523, 59872), (2722, 66654))
_SHA256 = (
    "6e19ad380300e8ce9480f9ab6a14cc91fa4b6a511609b40e3d70bdf9c881ed0b",
    "5bc540cc509f64b5f5a274d6e5a245527dbd3e6d3155d43555115c5d54709b07",
    "c14d372981c42f611ebc80afad01702b89cad8c1b3089daa31931cf5a4b1a39d",
)

DATASET = Dataset(
    name="pannuke",
    title="PanNuke",
    description="H&E nuclei of five classes in 19 tissues, 256 × 256 patches at 40x in three folds, annotated semi-"
    "automatically. Ids are sparse, nuclei of two classes may share pixels, some pixels are neither nucleus nor "
    "background.",
    licence="CC BY-NC-SA 4.0",
    non_commercial=True,
    redistribute=False,
    citation="Gamper et al.: PanNuke: an open pan-cancer histology dataset for nuclei instance segmentation and "
    "classification. ECDP 2019, 11-19; Gamper et al.: PanNuke dataset extension, insights and baselines. "
    "arXiv:2003.10778 (2020)",
    doi="10.1007/978-3-030-23937-4_2",
    source="https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke",
    modality=("histology",),
    target=("nucleus",),
    classes=CLASS_NAMES,
    tissues=TISSUES,
    group="fold (patients were not published)",
    parts=("fold1", "fold2", "fold3"),
    counts={
        (f"fold{k}", w): n
        for k, pair in enumerate(_PER_FOLD, 1)
        for w, n in zip(("images", "instances"), pair, strict=True)
    },
    splits={"split1": _rotation(1, 2, 3), "split2": _rotation(2, 1, 3), "split3": _rotation(3, 2, 1)},
    files=tuple(
        File(f"https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke/fold_{k}.zip", f"fold_{k}.zip", sha256=digest)
        for k, digest in enumerate(_SHA256, 1)
    ),
    layout="Fold <k>/images/fold<k>/images.npy   (N, 256, 256, 3) float64\n"
    "Fold <k>/images/fold<k>/types.npy    (N,) tissue\n"
    "Fold <k>/masks/fold<k>/masks.npy     (N, 256, 256, 6) float64",
    protocols=("pq_pannuke",),
    expected_findings=("cross-class-overlap", "void-pixels", "void-patch", "several-components"),
    damages=(
        Damage("fold1/images.npy", "missing-image", STOPS, smaller=STOPS),
        Damage("fold1/masks.npy", "missing-annotation", STOPS, smaller=STOPS),
    ),
    scan=scan,
    load=load,
    example=example,
)
