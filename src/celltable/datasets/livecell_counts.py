"""LIVECell's count benchmark: label-free images whose nuclei were counted by fluorescence (Edlund et al. 2021)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

from celltable.cells import Finding, Instances, Sample
from celltable.errors import InputError
from celltable.imagefile import Entry, Release
from celltable.notation.livecell import PIXEL_UM, parse
from celltable.plugins.dataset import STOPS, Damage, Dataset, File, Scan
from celltable.rules import rule

from ._read import image_of, sample, tiff, unreadable_is_a_finding

rule(
    "invalid-count",
    "Count that is not a number",
    "error",
    "A published count is not a number of 0 or more; the image is kept without it.",
    emitter="ingest livecell_counts",
)

LINES: Final = ("A172", "A549")


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """Match images and counts by base name, whatever the extension in the archive."""
    findings: list[Finding] = []
    images = {
        m["stem"]: e
        for e, m in release.match(r"(?P<stem>[^/]+)\.(?:png|tiff?|jpe?g)")
        if "fluorescen" not in f"{e.source}/{e.name}".lower()
    }
    items = []
    for entry, m in release.match(r"(?P<line>A172|A549)_counts\.json"):
        if parts and m["line"] not in parts:
            continue
        for name, value in sorted(_counts(release, entry).items()):
            stem = Path(name).stem
            count = parse_count(value)
            if count is None:
                text = f"the count of {name} is {str(value)[:30]!r}, not a number; the pair was left out"
                findings.append(Finding("invalid-count", text, "error", stem))
            elif stem not in images:
                findings.append(
                    Finding("unknown-image", f"{name} has a count of {count:g} but no image", "error", stem)
                )
            else:
                items.append((stem, images[stem], m["line"], count, name))
    return Scan(sorted(items, key=lambda i: i[0]), tuple(findings))


def _counts(release: Release, entry: Entry) -> dict[str, Any]:
    try:
        counts = json.loads(release.read(entry).decode("utf-8-sig"))
    except ValueError as exc:
        raise InputError(f"{entry.name} is not JSON ({exc}); expected an object of file name → count.") from exc
    if not isinstance(counts, dict):
        raise InputError(f"{entry.name} holds a {type(counts).__name__}; expected an object of file name → count.")
    return counts


def parse_count(value: Any) -> float | None:
    """Parse a count: text as documented, or a number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) and number >= 0 else None


@unreadable_is_a_finding
def load(release: Release, shared: Any, item: tuple[str, Entry, str, float, str]) -> Sample:
    """Read an image with its count, without cells."""
    stem, entry, line, count, published = item
    name = parse(stem)
    image = image_of(
        release, stem, entry, whole=True, channels=("phase",), modality="phase-contrast", cell_type=line, count=count,
        magnification=10.0, pixel_size_um=PIXEL_UM, annotated=False,
        leakage_group=f"{line} {name.well}" if name else stem,
        group_source="published" if name else None, metadata=name.metadata if name else {},
    )  # fmt: skip
    findings = []
    if Path(published).suffix.lower() != Path(entry.name).suffix.lower():
        text = f"the counts call it {published}, the archive {Path(entry.name).name}"
        findings.append(Finding("wrong-extension", text, "note", stem))
    return sample(release, image, Instances.empty(image.size), findings)


def example(folder: Path, seed: int = 0) -> Path:
    """Write counts as text and as numbers, one invalid, one without image, extensions that differ."""
    from celltable.synthetic import generate

    from ._example import write_zip

    root = folder / "nuclear_count_benchmark"
    root.mkdir(parents=True)
    for k, line in enumerate(LINES):
        images: dict[str, bytes] = {}
        counts: dict[str, Any] = {}
        for i in range(3):
            stem = f"{line}_Phase_B{i + 2}_1_00d0{i}h00m_1"
            scene = generate("phase-contrast", size=(100, 120), cells=6 + i, seed=seed * 100 + k * 10 + i)
            images[f"{stem}.tif"] = tiff(scene.pixels)
            counts[f"{stem}.{'png' if i == 1 else 'tif'}"] = (str(6 + i), 6 + i, "NaN")[i]
        counts[f"{line}_Phase_C9_1_00d00h00m_1.tif"] = "12"
        write_zip(root / f"{line}.zip", images)
        write_zip(root / f"{line}_fluorescent_images.zip", {n.replace("Phase", "Fluor"): d for n, d in images.items()})
        (root / f"{line}_counts.json").write_text(json.dumps(counts), encoding="utf-8")
    return root


_BASE: Final = "http://livecell-dataset.s3.eu-central-1.amazonaws.com/LIVECell_dataset_2021/nuclear_count_benchmark"

DATASET = Dataset(
    name="livecell_counts",
    title="LIVECell, fluorescence-based counts",
    description="Label-free images of A172 and A549 cells with the number of nuclei counted by fluorescence. "
    "Counts only: no outlines.",
    licence="CC BY-NC 4.0",
    non_commercial=True,
    redistribute=False,
    citation="Edlund et al.: LIVECell, a large-scale dataset for label-free live cell segmentation. "
    "Nature Methods 18:1038 (2021)",
    doi="10.1038/s41592-021-01249-6",
    source=_BASE,
    modality=("phase-contrast",),
    target=("cell",),
    group="well, or else the file",
    parts=LINES,
    files=tuple(File(f"{_BASE}/{n}", n) for line in LINES for n in (f"{line}.zip", f"{line}_counts.json")),
    layout="nuclear_count_benchmark/{A172,A549}.zip\nnuclear_count_benchmark/{A172,A549}_counts.json",
    protocols=("counts_livecell",),
    expected_findings=("invalid-count", "unknown-image", "wrong-extension"),
    damages=(
        Damage("A172/*.tif", "unknown-image", "unreadable-image", smaller=""),
        Damage("A172_counts.json", "", STOPS, smaller=""),
    ),
    scan=scan,
    load=load,
    example=example,
)
