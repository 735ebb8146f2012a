"""Coelho, Shariff, Murphy, ISBI 2009: nuclei of U2OS and NIH3T3 cells, outlined by hand in GIMP files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import ArchiveError, ImageFileError
from celltable.geometry import outline
from celltable.imagefile import Entry, Release
from celltable.imagefile.xcf import Layer, pack, read_layers
from celltable.plugins.dataset import Damage, Dataset, File, Scan
from celltable.rules import rule

from ._read import fitting_mask, image_of, png, sample, unlabelled, unreadable_is_a_finding

rule(
    "missing-outline-layer",
    "Missing layer of outlines",
    "warning",
    "The XCF file does not have a full-size layer of strokes with transparency.",
    emitter="ingest isbi2009",
)
rule(
    "outline-count-differs",
    "Different numbers of outlines and labels",
    "warning",
    "The hand outlines enclose a different number of nuclei from the label map. Value: the difference.",
    emitter="ingest isbi2009",
)
rule(
    "partial-alpha",
    "Half-transparent strokes",
    "note",
    "Half-transparent pixels of the strokes count as outline. Value: pixels.",
    emitter="ingest isbi2009",
)

LINES: Final = {"gnf": "U2OS", "ic100": "NIH3T3"}
REJECTED: Final = {"gnf_31", "gnf_43", "ic100_25"}
STROKES: Final = ("borders", "border")
MIN_AREA: Final = 5  # px²: smaller components of other colours are specks between strokes
IMAGE: Final = r"dna-images/(?P<line>gnf|ic100)/dna-(?P<n>\d+)\.png"
OUTLINES: Final = r"segmented-lpc/(?P<line>gnf|ic100)/dna-(?P<n>\d+)\.xcf"
LABELS: Final = r"preprocessed-data/(?P<line>gnf|ic100)/dna-(?P<n>\d+)\.png"


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List the images with their label map, their hand outlines, both or neither."""
    files = {
        what: {(m["line"], int(m["n"])): e for e, m in release.match(pattern)}
        for what, pattern in (("image", IMAGE), ("xcf", OUTLINES), ("labels", LABELS))
    }
    strangers = sorted((files["labels"].keys() | files["xcf"].keys()) - files["image"].keys())
    findings = [Finding("missing-image", f"dna-{n} of {line} has no image", "error") for line, n in strangers]
    items = [
        (line, n, entry, files["labels"].get((line, n)), files["xcf"].get((line, n)))
        for (line, n), entry in files["image"].items()
        if not parts or line in parts
    ]
    return Scan(sorted(items, key=lambda i: _image_id(i[0], i[1])), tuple(findings))


def _image_id(line: str, n: int) -> str:
    return f"{line}_{n:02d}"


@unreadable_is_a_finding
def load(release: Release, shared: Any, item: tuple[str, int, Entry, Entry | None, Entry | None]) -> Sample:
    """Read an image from its label PNG, or else its XCF outlines; where both exist, compare them."""
    line, n, entry, label_entry, xcf_entry = item
    image = image_of(
        release, _image_id(line, n), entry, whole=True, modality="fluorescence", cell_type=LINES[line],
        leakage_group=line, group_source="published",
    )  # fmt: skip
    if label_entry is None and xcf_entry is None:
        return _rejected(release, image)
    findings: list[Finding] = []
    labels = None
    if label_entry is not None:
        labels = fitting_mask(release, label_entry, image, findings)
    drawn = None if xcf_entry is None else _outlined(release, xcf_entry, image, findings)
    chosen = drawn if labels is None else labels
    if chosen is None:
        return unlabelled(release, image, *findings)
    if labels is not None and drawn is not None:
        a, b = int(np.count_nonzero(np.unique(labels))), int(drawn.max())
        if a != b:
            text = f"the label image has {a} nuclei, the hand outlines enclose {b} (one may be open at the border)"
            findings.append(Finding("outline-count-differs", text, "warning", image.image_id, value=float(b - a)))
    cells = Instances.from_label_map(chosen, annotator="annotator 1 (lpc)")
    return sample(release, image, cells, findings)


def _rejected(release: Release, image: Image) -> Sample:
    pixels = sample(release, image, Instances.empty(image.size)).pixels()
    blank = bool((pixels == pixels.flat[0]).all())
    why = "all its pixels are equal" if blank else "it has no annotation"
    known = "; rejected by the authors" if image.image_id in REJECTED else ""
    return unlabelled(release, image, Finding("missing-annotation", f"{why}{known}", "warning", image.image_id))


def _outlined(release: Release, entry: Entry, image: Image, findings: list[Finding]) -> NDArray[np.int32] | None:
    """Label the nuclei that the red strokes of the upper layer enclose."""
    try:
        size, layers = read_layers(release.read(entry), entry.name, STROKES)
    except (ImageFileError, ArchiveError) as exc:
        findings.append(Finding("unreadable-mask", str(exc), "error", image.image_id))
        return None
    strokes = next((x for x in layers if x.pixels.shape[2] == 4), None)
    if strokes is None or size != image.size or strokes.pixels.shape[:2] != image.size:
        text = f"{entry.name} ({size[0]} × {size[1]} px) has no full-size layer 'borders' with transparency"
        findings.append(Finding("missing-outline-layer", text, "warning", image.image_id))
        return None
    red, green, blue, alpha = np.moveaxis(strokes.pixels, -1, 0)
    faint = int(((alpha > 0) & (alpha < 255)).sum())
    if faint:
        text = f"{faint:,} px of the strokes are half transparent; they count as outline"
        findings.append(Finding("partial-alpha", text, "note", image.image_id, value=float(faint)))
    line = (red == 255) & (green == 0) & (blue == 0) & (alpha > 0)
    return outline.fill_outlines(line, connectivity=4, drop="largest", min_area=MIN_AREA)


def example(folder: Path, seed: int = 0) -> Path:
    """Write both lines: labels and outlines, outlines alone, labels alone, a blank rejected image, files to ignore."""
    from celltable.synthetic import generate

    root = folder / "2009_ISBI_2DNuclei_code_data" / "data"
    files: dict[str, bytes] = {"images/dna-images/gnf/dna-31.png": png(np.zeros((90, 100, 3), np.uint8))}
    for k, (line, n, has) in enumerate((("gnf", 0, "lx"), ("gnf", 1, "x"), ("ic100", 2, "l"), ("ic100", 11, "lX"))):
        scene = generate("fluorescence", size=(90, 100), cells=6, seed=seed * 100 + k)
        grey = np.repeat(scene.pixels[..., None] if scene.pixels.ndim == 2 else scene.pixels[..., :1], 3, axis=2)
        files[f"images/dna-images/{line}/dna-{n}.png"] = png(grey.astype(np.uint8))
        inner, strokes = _drawn(scene.label_map)
        if "l" in has:
            files[f"preprocessed-data/{line}/dna-{n}.png"] = png(inner.astype(np.uint8))
        if "X" in has:
            strokes[...] = 0  # an outline file without strokes, so that the count differs
        if has.lower() != "l":
            layers = [Layer("borders", (0, 0), strokes), Layer("Background", (0, 0), grey.astype(np.uint8))]
            files[f"images/segmented-lpc/{line}/dna-{n}.xcf"] = pack("example", layers, (90, 100))
    files["images/segmented-tbuck/ic100/dna-2.xcf"] = b"gimp xcf file\0"
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root.parent


def _drawn(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Draw eroded labels, and red strokes along the rims (erased paint elsewhere)."""
    padded = np.pad(labels, 1)
    same = np.ones(labels.shape, bool)
    for dr in (0, 1, 2):
        for dc in (0, 1, 2):
            same &= padded[dr : dr + labels.shape[0], dc : dc + labels.shape[1]] == labels
    inner = np.where(same, labels, 0)
    strokes = np.zeros((*labels.shape, 4), np.uint8)
    strokes[..., 0] = 255
    strokes[(labels > 0) & ~same, 3] = 255
    return inner, strokes


_ARCHIVE: Final = "2009_ISBI_2DNuclei_code_data.tgz"

DATASET = Dataset(
    name="isbi2009",
    title="Coelho et al. ISBI 2009, hand-segmented nuclei",
    description="Fluorescence images of U2OS and NIH3T3 nuclei outlined by hand: 97 images, 4,009 nuclei. The label "
    "images leave out the outline itself, so nuclei are one or two pixels smaller on all sides.",
    licence="none stated; the authors ask for citation",
    redistribute=False,
    citation="Coelho, Shariff, Murphy: Nuclear segmentation in microscope cell images: a hand-segmented dataset and "
    "comparison of algorithms. ISBI 2009, 518-521",
    doi="10.1109/ISBI.2009.5193098",
    source="http://murphylab.web.cmu.edu/data/2009_ISBI_Nuclei.html",
    modality=("fluorescence",),
    target=("nucleus",),
    group="collection (cell line)",
    parts=("gnf", "ic100"),
    counts={("", "images"): 97, ("", "instances"): 4009},
    files=(File(f"http://murphylab.web.cmu.edu/data/{_ARCHIVE}", _ARCHIVE),),
    layout="data/images/dna-images/{gnf,ic100}/dna-<N>.png\ndata/images/segmented-lpc/{gnf,ic100}/dna-<N>.xcf\n"
    "data/preprocessed-data/{gnf,ic100}/dna-<N>.png",
    protocols=("ap_dsb2018",),
    expected_findings=("missing-annotation", "outline-count-differs"),
    damages=(
        Damage("dna-images/ic100/dna-2.png", "missing-image", "unreadable-image"),
        Damage("preprocessed-data/ic100/dna-2.png", "missing-annotation", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
