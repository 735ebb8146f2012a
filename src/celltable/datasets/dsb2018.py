"""2018 Data Science Bowl (BBBC038): nuclei of mixed microscopy, a mask per nucleus (Caicedo et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from celltable.cells import Finding, Sample
from celltable.imagefile import Release
from celltable.notation.kaggle import Rows, rows_by_image
from celltable.plugins.dataset import Damage, Dataset, File, Scan
from celltable.rules import rule

from ._dsb import Item, find_images, load_image

rule(
    "ignored-images",
    "Images that are never scored",
    "note",
    "The solution marks these images Ignored. They are kept and flagged. Value: images.",
    emitter="ingest dsb2018",
)

TABLES: Final = {
    "stage1_train": ("stage1_train_labels.csv",),
    "stage1_test": ("stage1_solution.csv",),
    "stage2_test": ("stage2_solution_final.csv", "stage2_solution.csv"),
}
Shared = Mapping[tuple[str, str], Rows]  # (part, image id) → its rows
_ROOT: Final = "https://data.broadinstitute.org/bbbc/BBBC038/"


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List the images of each part, with the rows of the tables beside them."""
    items, findings = find_images(release, parts)
    known = {(item.part, item.image_id) for item in items}
    shared: dict[tuple[str, str], Rows] = {}
    tables = {e.name.rpartition("/")[2]: e for e in reversed(release.entries) if e.name.endswith(".csv")}
    for part, names in TABLES.items():
        entry = next((tables[n] for n in names if n in tables and (not parts or part in parts)), None)
        if entry is not None:
            rows = rows_by_image(release.extract(entry))
            shared.update(((part, i), r) for i, r in rows.items())
            _without_image(part, entry.name, rows, known, items, findings)
    ignored = sum(rows.usage == "Ignored" for rows in shared.values())
    if ignored:
        text = f"{ignored:,} images are marked Ignored: kept and flagged, never scored"
        findings.append(Finding("ignored-images", text, "note", value=float(ignored)))
    return Scan(sorted(items), tuple(findings), shared)


def _without_image(
    part: str,
    table: str,
    rows: Mapping[str, Rows],
    known: set[tuple[str, str]],
    items: list[Item],
    findings: list[Finding],
) -> None:
    """Keep ids of a table that have no image: without pixels if the table states their size, else as a finding."""
    taken = {item.image_id for item in items}
    for image_id, of_image in rows.items():
        if (part, image_id) in known:
            continue
        if of_image.size is not None and image_id not in taken:
            items.append(Item(image_id, part, None))
            continue
        text = f"{table} lists {image_id}, which {part} does not contain; its {len(of_image.runs):,} rows were left out"
        findings.append(Finding("unknown-image", text, "error", image_id, value=float(len(of_image.runs))))


def load(release: Release, shared: Shared, item: Item) -> Sample:
    """Read an image with its nuclei."""
    return load_image(release, item, shared.get((item.part, item.image_id)))


def example(folder: Path, seed: int = 0) -> Path:
    """Write all three parts, as downloaded: archives and tables side by side."""
    from ._dsb_example import write_bowl

    return write_bowl(folder, seed)


DATASET = Dataset(
    name="dsb2018",
    title="2018 Data Science Bowl, nuclei (BBBC038)",
    description="Nuclei in fluorescence, bright-field and stained-tissue images of many laboratories, one mask per "
    "nucleus. Three parts: stage1_train with masks, and stage1_test and stage2_test with run-length tables; of the "
    "latter's images, 106 (3,717 nuclei) are scored and the rest are decoys marked Ignored. Modality, image class and "
    "leakage group are derived from the pixels, as the release does not state them.",
    licence="CC0 1.0",
    citation="Caicedo et al.: Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl. Nature "
    "Methods 16:1247 (2019)",
    doi="10.1038/s41592-019-0612-7",
    source="https://bbbc.broadinstitute.org/BBBC038",
    modality=("fluorescence", "bright-field", "histology"),
    target=("nucleus",),
    group="derived: images of the same modality and size whose background and bright levels fall into the same steps; "
    "the release does not state plates or patients",
    counts={
        ("stage1_train", "images"): 670,
        ("stage1_train", "instances"): 29461,
        ("stage1_test", "images"): 65,
        ("stage1_test", "instances"): 4152,
        ("stage2_test", "images"): 3019,
    },
    parts=("stage1_train", "stage1_test", "stage2_test"),
    files=tuple(
        File(_ROOT + name, name)
        for name in (
            "stage1_train.zip",
            "stage1_test.zip",
            "stage2_test_final.zip",
            "stage1_train_labels.csv",
            "stage1_solution.csv",
            "stage2_solution_final.csv",
        )
    ),
    how_to_get="Free from the Broad Bioimage Benchmark Collection. The same files are at "
    "https://www.kaggle.com/c/data-science-bowl-2018/data (log in, accept the rules, download all).",
    protocols=("ap_dsb2018",),
    layout="stage1_train.zip, or stage1_train/<ImageId>/images/<ImageId>.png and masks/<mask>.png per nucleus\n"
    "stage1_test.zip, or stage1_test/<ImageId>/images/<ImageId>.png\n"
    "stage2_test_final.zip, or stage2_test_final/<ImageId>/images/<ImageId>.png\n"
    "stage1_train_labels.csv, stage1_solution.csv, stage2_solution_final.csv beside them",
    expected_findings=("ignored-images",),
    damages=(
        Damage("stage1_train/*/images/*.png", "missing-image", "unreadable-image"),
        Damage("stage1_train/*/masks/*.png", "csv-differs", "unreadable-mask"),
    ),
    scan=scan,
    load=load,
    example=example,
)
