"""BBBC007: Drosophila Kc167 cells, DNA and actin; nuclei and cells drawn as one-pixel outlines (Jones et al. 2005)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Kind, Sample
from celltable.geometry import outline
from celltable.imagefile import Entry, Release
from celltable.plugins.dataset import Damage, Dataset, File, Scan
from celltable.rules import rule

from ._channels import Channel, decoded, image_of_channels
from ._outlines import line_of, open_contours, sample_of_drawings
from ._read import fitting_mask, tiff

rule(
    "corner-marks",
    "Registration marks in the corners",
    "note",
    "Coloured marks in the corners of an image that should be grey. The channel with the fewest marks is read.",
    emitter="ingest bbbc007",
)
rule(
    "coloured-pixels",
    "Coloured pixels in a grey image",
    "note",
    "Coloured pixels away from the corners of an image that should be grey.",
    emitter="ingest bbbc007",
)

# Each of the four folders has its own pattern; the letter or number after the field means DNA (d) or actin (f).
FILE: Final = (
    r"BBBC007_v1_(?P<what>images|outlines)/(?P<sub>[^/]+)/(?:"
    r"(?P<a9>A9 p\d+)(?P<a9c>[df])|"
    r"(?P<f96>\d+P\d_POS\d+)_(?P<f96c>[DF])_\dUL|"
    r"(?P<f113>AS_\d+_\d+_[A-Z]\d{2}f\d{2})d(?P<f113c>[01]))\.(?i:tiff?)"
)
CHANNEL: Final = {"d": "DNA", "D": "DNA", "0": "DNA", "f": "actin", "F": "actin", "1": "actin"}
KINDS: Final[dict[str, Kind]] = {"DNA": "nucleus", "actin": "cell"}
CORNER_PX: Final = 30  # registration marks are this close to a corner
MIN_AREA_PX: Final = 16


class Item(NamedTuple):
    """One field: its images and outlines by channel."""

    image_id: str
    sub: str
    images: dict[str, Entry]
    outlines: dict[str, Entry]


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List fields; the naming pattern of each folder tells DNA from actin."""
    fields: dict[tuple[str, str], dict[str, dict[str, Entry]]] = defaultdict(lambda: {"images": {}, "outlines": {}})
    for entry, hit in release.match(FILE):
        key = hit["a9"] or hit["f96"] or hit["f113"]
        channel = CHANNEL[hit["a9c"] or hit["f96c"] or hit["f113c"]]
        fields[key, hit["sub"]][hit["what"]][channel] = entry
    findings, items = [], []
    for (key, sub), files in sorted(fields.items()):
        if files["images"]:
            items.append(Item(key, sub, files["images"], files["outlines"]))
        else:
            findings.append(Finding("missing-image", f"the outlines {sub}/{key} have no image", "error", key))
    return Scan(items, tuple(findings))


def load(release: Release, shared: Any, item: Item) -> Sample:
    """Read a field with its nuclei (DNA outlines) and cells (actin outlines)."""
    findings: list[Finding] = []
    channels = [c for role in KINDS if role in item.images and (c := _channel(release, role, item, findings))]
    for role in sorted(KINDS.keys() - item.images.keys()):
        findings.append(Finding("missing-channel", f"no {role} file in {item.sub}", "error", item.image_id))
    image = image_of_channels(
        release,
        item.image_id,
        channels,
        findings,
        modality="fluorescence",
        cell_type="Kc167",
        leakage_group=item.sub,
        group_source="published",
        metadata={"folder": item.sub},
    )
    drawn = {kind: _cells(release, role, kind, item, image, findings) for role, kind in KINDS.items()}
    return sample_of_drawings(release, image, drawn, findings)


def _channel(release: Release, role: str, item: Item, findings: list[Finding]) -> Channel | None:
    """Choose the least marked colour of a channel file that is RGB, and report coloured marks."""
    entry = item.images[role]
    pixels = decoded(release, role, entry, item.image_id, findings)
    if pixels is None:
        return None
    if pixels.ndim == 2 or pixels.shape[2] < 3:
        return role, entry, None
    colours = pixels[..., :3].astype(np.int16)
    marked = np.ptp(colours, axis=2) > 0
    if not marked.any():
        return role, entry, 0
    rows, columns = np.nonzero(marked)
    height, width = marked.shape
    near = (np.minimum(rows, height - 1 - rows) < CORNER_PX) & (np.minimum(columns, width - 1 - columns) < CORNER_PX)
    for defect, n, where in (
        ("corner-marks", int(near.sum()), f"within {CORNER_PX} px of a corner: registration marks"),
        ("coloured-pixels", int((~near).sum()), "away from the corners of an image that should be grey"),
    ):
        if n:
            text = f"{n} coloured pixels of the {role} image are {where}"
            findings.append(Finding(defect, text, "note", item.image_id, value=float(n)))
    strayed = np.abs(colours - np.median(colours, axis=2, keepdims=True)).sum(axis=(0, 1))
    return role, entry, int(np.argmin(strayed))


def _cells(
    release: Release, role: str, kind: Kind, item: Item, image: Image, findings: list[Finding]
) -> Instances | None:
    entry = item.outlines.get(role)
    if entry is None:
        findings.append(Finding("missing-annotation", f"no outlines for the {role} image", "error", item.image_id))
        return None
    drawing = fitting_mask(release, entry, image, findings)
    if drawing is None:
        return None
    line = line_of(drawing)
    labels = outline.fill_outlines(line, connectivity=4, drop="border", min_area=MIN_AREA_PX)
    findings += open_contours(line, labels, item.image_id, f"the {role} image")
    return Instances.from_label_map(labels, kind=kind, annotator="manual").with_columns(source_id=None)


def example(folder: Path, seed: int = 0) -> Path:
    """Write a field per folder: 1-bit outlines of both polarities, a corner mark in colour, cells cut by the border."""
    from celltable.synthetic import generate

    from ._example import eight_bits, litter_files, nested, outer_line, write_files

    names = {
        "A9": ("A9 p10d", "A9 p10f"),
        "f96 (17)": ("17P1_POS0013_D_1UL", "17P1_POS0013_F_2UL"),
        "f9620": ("20P1_POS0005_D_1UL", "20P1_POS0005_F_2UL"),
        "f113": ("AS_09125_040701150004_A02f00d0", "AS_09125_040701150004_A02f00d1"),
    }
    files: dict[str, bytes] = {}
    for i, (sub, pair) in enumerate(names.items()):
        scene = generate("fluorescence", size=(120, 100 + 4 * i), cells=10, seed=seed * 10 + i)
        grey = eight_bits(scene.pixels)
        nuclei, cells = nested(scene.label_map)
        top = int(np.argwhere(nuclei == 1).mean(axis=0)[0]) if i == 1 else 0  # the border cuts a cell
        nuclei, cells, grey = nuclei[top:], cells[top:], grey[top:]
        for name, labels, picture in zip(pair, (nuclei, cells), (grey, 255 - grey), strict=True):
            files[f"BBBC007_v1_images/{sub}/{name}.tif"] = tiff(_marked(picture) if i == 0 else picture)
            line = outer_line(labels)
            line[0] &= line[1]  # no line along the border: cells that it cuts stay open
            files[f"BBBC007_v1_outlines/{sub}/{name}.tif"] = tiff(line if i else ~line, photometric="minisblack")
    del files["BBBC007_v1_outlines/f113/AS_09125_040701150004_A02f00d1.tif"]
    return write_files(folder / "bbbc007", {**files, **litter_files()})


def _marked(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb = np.repeat(grey[..., None], 3, axis=2)
    rgb[2:8, 2:4] = (255, 0, 0)
    return rgb


_ROOT: Final = "https://data.broadinstitute.org/bbbc/BBBC007/"
DATASET = Dataset(
    name="bbbc007",
    title="BBBC007: Drosophila Kc167 cells",
    description="Drosophila Kc167 cells stained for DNA and actin, 16 fields in four folders. Nuclei are outlined on "
    "the DNA image, cells on the actin image; the object is what its outline encloses, without the line. "
    "Objects cut by the image border are open and lost.",
    licence="CC0 1.0 (second-hand; see the page)",
    citation="Jones, Carpenter, Golland: Voronoi-based segmentation of cells on image manifolds. CVBIA 2005, LNCS "
    "3765:535; image set BBBC007v1, Ljosa et al., Nature Methods 9:637 (2012)",
    doi="10.1007/11569541_54",
    source="https://bbbc.broadinstitute.org/BBBC007",
    modality=("fluorescence",),
    target=("nucleus", "cell"),
    group="folder (A9, f96 (17), f9620, f113)",
    counts={("", "images"): 16},
    files=(
        File(
            _ROOT + "BBBC007_v1_images.zip",
            "BBBC007_v1_images.zip",
            sha256="b7009e2fce0a3152a5c9adda916eaa699d09696f4bd02a7d05d12d041e30c6d1",
        ),
        File(
            _ROOT + "BBBC007_v1_outlines.zip",
            "BBBC007_v1_outlines.zip",
            sha256="6a5246f9a9d743d22eafdb409fae638a8461af97e9ff9c4a92f25eba236224d3",
        ),
    ),
    layout="BBBC007_v1_images/<folder>/<file>.tif\nBBBC007_v1_outlines/<folder>/<the same file>.tif",
    expected_findings=("corner-marks", "cut-outline", "missing-annotation", "open-outline"),
    damages=(
        Damage("BBBC007_v1_images/A9/A9 p10d.tif", "missing-channel", "unreadable-image"),
        Damage("BBBC007_v1_outlines/A9/A9 p10d.tif", "missing-annotation", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
