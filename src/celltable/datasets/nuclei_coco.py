"""The COCO collection of nuclei sets that came with NucleiDetectron: fourteen annotation files over eleven sources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from celltable.cells import Finding, Image, Sample
from celltable.errors import ArchiveError, ImageFileError, InputError
from celltable.imagefile import Entry, Release
from celltable.notation.coco import load as load_json
from celltable.notation.coco_cells import Annotations, prepare
from celltable.plugins.dataset import Damage, Dataset, Scan
from celltable.rules import rule

from ._read import loader, located, truncated

rule(
    "jpeg-images",
    "Images re-saved as JPEG",
    "note",
    "The pixels are not those of the sources, as the collection's compression is lossy. Value: images.",
    emitter="ingest nuclei_coco",
)
rule(
    "swapped-tile-names",
    "Tile names with rows and columns swapped",
    "note",
    "File names of tiles put the row first, as if it were x. The metadata hold the correct position. Value: tiles.",
    emitter="ingest nuclei_coco",
)


class Source(NamedTuple):
    """A key of the collection: its image folder, annotation file, native data set and modality."""

    folder: str
    annotations: str
    native: str
    modality: str | None = None


SOURCES: Final = {
    "nuclei_stage1_train": Source("stage_1_train", "stage1_train", "dsb2018"),
    "nuclei_stage_1_local_train_split": Source("stage_1_train", "stage_1_local_train_split", "dsb2018"),
    "nuclei_stage_1_local_val_split": Source("stage_1_train", "stage_1_local_val_split", "dsb2018"),
    "nuclei_stage_1_test": Source("stage_1_test", "stage_1_test", "dsb2018"),
    "nuclei_stage_2_test": Source("stage_2_test", "stage_2_test", "dsb2018"),
    "cluster_nuclei": Source("cluster_nuclei", "cluster_nuclei", "cluster_nuclei", "histology"),
    "BBBC006": Source("BBBC006", "BBBC006", "bbbc006", "fluorescence"),
    "BBBC007": Source("BBBC007", "BBBC007", "bbbc007", "fluorescence"),
    "BBBC018": Source("BBBC018", "BBBC018", "bbbc018", "fluorescence"),
    "BBBC020": Source("BBBC020", "BBBC020", "bbbc020", "fluorescence"),
    "nucleisegmentationbenchmark": Source(
        "nucleisegmentationbenchmark", "nucleisegmentationbenchmark", "kumar", "histology"
    ),
    "2009_ISBI_2DNuclei": Source("2009_ISBI_2DNuclei", "2009_ISBI_2DNuclei", "isbi2009", "fluorescence"),
    "nuclei_partial_annotations": Source(
        "nuclei_partial_annotations", "nuclei_partial_annotations", "janowczyk", "histology"
    ),
    "TNBC_NucleiSegmentation": Source("TNBC_NucleiSegmentation", "TNBC_NucleiSegmentation", "tnbc", "histology"),
}
WHOLE, LOCAL_TRAIN, LOCAL_VAL = list(SOURCES)[:3]
LOCAL: Final = {LOCAL_TRAIN: "train", LOCAL_VAL: "val"}
VAL_CLASSES: Final = (  # nuclei_class of the local validation split, NucleiDetectron prepare_kaggle_datasets.py
    "purple_purple_320_256_large",
    "purple_purple_320_256_medium",
    "purple_purple_320_256_small",
    "purple_purple_320_256_sparce",
    "purple_white_320_256",
    "purple_white_320_256_long",
)
_LOOKS: Final = {"purple": "histology", "white_black": "fluorescence", "black_white": "bright-field"}
_TILE: Final = re.compile(r"^(?P<source>.+?)[.:](?P<rows>\d+_\d+)_x_(?P<columns>\d+_\d+)$")
_GROUPS: Final = {  # native data set → the part of the original name that is its leakage group
    "bbbc006": r"(?:^|_)(?P<g>[a-p]\d{2})_s\d",
    "bbbc007": r"^(?P<g>A9|\d+P\d|AS_\d+)",
    "bbbc018": r"(?P<g>\d{5})-",
    "bbbc020": r"jw-(?P<g>\d+(?:min|h)|Kontrolle)",
    "kumar": r"^(?P<g>TCGA-\w+-\w+)",
    "isbi2009": r"(?P<g>gnf|ic100)",
    "janowczyk": r"^(?P<g>\d+)_",
    "tnbc": r"^(?P<g>\d+)_",
}


class Item(NamedTuple):
    """An image record, its key in the annotations and its picture."""

    image_id: str
    part: str
    key: Any
    image: Image
    picture: Entry | None
    findings: tuple[Finding, ...]


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List the image records of each annotation file; those of local splits only if requested."""
    files = {}
    for key, source in SOURCES.items():
        entries = [e for e, _ in release.match(rf"annotations/{re.escape(source.annotations)}\.json")]
        if entries:
            files[key] = entries[0]
    wanted = parts or tuple(k for k in files if k not in LOCAL or WHOLE not in files)
    splits = _local_splits(release, files) if WHOLE in wanted else {}
    items: list[Item] = []
    findings: list[Finding] = []
    shared: dict[str, Annotations] = {}
    pictures = _pictures(release)
    for part in (p for p in wanted if p in files):
        try:
            document = load_json(release.extract(files[part]))
        except InputError as exc:
            findings.append(Finding("unreadable-annotations", f"{files[part].name}: {exc}", "error"))
            continue
        reader, records, loose = prepare(document, {}, files[part].name)
        shared[part] = reader
        findings += loose
        for key, image, own in records:
            items.append(_item(part, key, image, own, pictures, splits))
    findings += _whole(items, pictures, wanted)
    return Scan(sorted(items, key=lambda i: i.image_id), tuple(findings), shared)


def _local_splits(release: Release, files: Mapping[str, Entry]) -> dict[str, str]:
    """Return the local split (train or val) of each file name."""
    splits: dict[str, str] = {}
    for key, name in LOCAL.items():
        if key in files:
            for record in load_json(release.extract(files[key])).images:
                splits[str(record.get("file_name"))] = name
    return splits


def _pictures(release: Release) -> dict[tuple[str, str], Entry]:
    """Map (folder, file name) to members."""
    folders = {source.folder for source in SOURCES.values()}
    pictures = {}
    for entry in release.entries:
        above, _, name = entry.name.rpartition("/")
        folder = above.rpartition("/")[2] or release.path.name
        if folder in folders and not name.endswith(".json"):
            pictures[folder, name] = entry
    return pictures


def _item(
    part: str,
    key: Any,
    image: Image,
    findings: Sequence[Finding],
    pictures: Mapping[tuple[str, str], Entry],
    splits: Mapping[str, str],
) -> Item:
    source = SOURCES[part]
    file_name = image.metadata.get("file_name", "")
    image_id = f"{part}/{image.image_id}"
    findings = [replace(f, image_id=image_id) for f in findings]
    picture = pictures.get((source.folder, PurePosixPath(file_name).name))
    if picture is None:
        text = f"{source.folder}/{file_name} is missing; the cells were read without pixels"
        findings.append(Finding("missing-image", text, "error", image_id))
    tile = _TILE.match(image.image_id)
    original = tile["source"] if tile else image.metadata.get("source_image", image.image_id)
    metadata = {**image.metadata, "part": part, "source_image": original}
    if tile:  # the first range is rows, although names put x first
        metadata |= {"tile_rows": tile["rows"], "tile_columns": tile["columns"]}
    nuclei_class = image.image_class or ""
    image = replace(
        image,
        image_id=image_id,
        pixels=() if picture is None else (located(picture),),
        modality=source.modality or next((m for c, m in _LOOKS.items() if nuclei_class.startswith(c)), None),
        split=LOCAL.get(part) or splits.get(file_name) or _split(part),
        leakage_group=_group(source.native, original, nuclei_class),
        group_source="derived",
        annotated=image.annotated and part != "nuclei_stage_2_test",
        exhaustive=image.exhaustive and source.native != "janowczyk",
        metadata=metadata,
    )
    return Item(image_id, part, key, image, picture, tuple(findings))


def _split(part: str) -> str | None:
    return {WHOLE: "train", "nuclei_stage_1_test": "test", "nuclei_stage_2_test": "final-test"}.get(part)


def _group(native: str, original: str, nuclei_class: str) -> str:
    """Return the leakage group of the native data set, from the original file name (or the class, for hashes)."""
    if native == "dsb2018":
        return f"{native} {nuclei_class or original}"
    hit = re.search(_GROUPS[native], original) if native in _GROUPS else None
    return f"{native} {hit['g'] if hit else original}"


def _whole(items: Sequence[Item], pictures: Mapping[tuple[str, str], Entry], wanted: Sequence[str]) -> list[Finding]:
    """Report defects of the whole collection: JPEG, swapped tile names, pictures without a record."""
    findings = []
    jpeg = sum(i.picture is not None and i.picture.name.lower().endswith((".jpg", ".jpeg")) for i in items)
    if jpeg:
        text = f"{jpeg:,} images were re-saved as JPEG by the collection, so their pixels are not those of the sources"
        findings.append(Finding("jpeg-images", text, "note", value=float(jpeg)))
    tiles = sum("tile_rows" in i.image.metadata for i in items)
    if tiles:
        text = (
            f"{tiles:,} tile names put rows first, as if they were x; metadata tile_rows and tile_columns are correct"
        )
        findings.append(Finding("swapped-tile-names", text, "note", value=float(tiles)))
    folders = {SOURCES[p].folder for p in wanted}
    used = {i.picture for i in items}
    loose = sum(folder in folders and entry not in used for (folder, _), entry in pictures.items())
    if loose:
        text = f"{loose:,} pictures are not in any annotation file (tiles with fewer than three nuclei were dropped)"
        findings.append(Finding("missing-annotation", text, "note", value=float(loose)))
    return findings


def load(release: Release, shared: Mapping[str, Annotations], item: Item) -> Sample:
    """Read an image with its nuclei, as the collection's JSON describes them."""
    findings = list(item.findings)
    image = item.image
    if item.picture is not None:
        try:
            info = release.image_info(item.picture)
            names = {1: ("grey",), 3: ("red", "green", "blue")}
            image = replace(image, dtype=info.dtype, channels=names.get(info.channels, ()))
            if (info.height, info.width) != image.size:
                text = f"the JSON says {image.height} × {image.width}, the picture is {info.height} × {info.width}"
                findings.append(Finding("size-mismatch", text, "error", item.image_id))
            findings += truncated(release, image)
        except (ArchiveError, ImageFileError) as exc:
            findings.append(Finding("unreadable-image", str(exc), "error", item.image_id))
    made = shared[item.part].sample(item.key, image, findings)
    annotator = "automatic" if SOURCES[item.part].native == "bbbc006" else "manual"
    cells = made.instances.with_columns(kind="nucleus", class_name=None, annotator=annotator)
    if len(cells):  # the published stage_2_test has none; one made with the solutions has
        made = replace(made, image=replace(made.image, annotated=True))
    return replace(made, instances=cells, load_pixels=loader(release, image.pixels) if image.pixels else None)


def example(folder: Path, seed: int = 0) -> Path:
    """Write every folder, with annotation id 0, tiles, a missing picture and one without a record."""
    from ._nuclei_coco_example import write_collection

    return write_collection(folder, seed, SOURCES, VAL_CLASSES)


DATASET = Dataset(
    name="nuclei_coco",
    title="Nuclei segmentation in microscope cell images (COCO collection)",
    description="Fourteen COCO files over eleven sources (2018 Data Science Bowl, BBBC006, 007, 018 and 020, Kumar, "
    "ISBI 2009, Janowczyk, TNBC, cluster nuclei), converted to one form by the author of NucleiDetectron: JPEG "
    "images, large ones tiled, outlines closed into masks. Every image has a nuclei_class of colours, size and "
    "density, and the Bowl's training images have a local split by that class. The published list swaps the links "
    "of BBBC006 and BBBC007.",
    licence="that of each source; the strictest is CC BY-NC-SA 4.0 (Kumar), several state none",
    non_commercial=True,
    redistribute=False,
    citation="gangadhar-p: Nuclei segmentation in microscope cell images, Kaggle (2018), and the citation of each "
    "source",
    source="https://www.kaggle.com/gangadhar/nuclei-segmentation-in-microscope-cell-images",
    access="login",
    how_to_get="Log in to Kaggle, open the source page, choose Download, and unpack the archive. The folder Nuclei/ "
    "with annotations/ in it is what celltable reads. `celltable export --to nuclei-coco` makes the same hierarchy "
    "from the native releases, without the collection's defects.",
    modality=("fluorescence", "histology", "bright-field"),
    target=("nucleus",),
    group="that of the native data set (patient, well, field, series), from the name of the original file",
    parts=tuple(SOURCES),
    default_parts=tuple(k for k in SOURCES if k not in LOCAL),
    protocols=("ap_coco", "ap_dsb2018"),
    layout="Nuclei/annotations/<name>.json\nNuclei/<folder>/<source id>.jpg, folders stage_1_train, stage_1_test, "
    "stage_2_test and one for each other source",
    splits={"local": {"train": LOCAL_TRAIN, "val": LOCAL_VAL}},
    expected_findings=(
        "annotation-id-zero",
        "annotations-dict",
        "missing-annotation",
        "jpeg-images",
        "missing-image",
        "swapped-tile-names",
    ),
    damages=(
        Damage("BBBC007/*.jpg", "missing-image", "unreadable-image", "truncated-image"),
        Damage("annotations/BBBC007.json", "", "unreadable-annotations", smaller=""),
    ),
    scan=scan,
    load=load,
    example=example,
)
