"""LIVECell: 1.6 million whole cells of eight lines in phase contrast (Edlund et al. 2021)."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.imagefile import Entry, Release
from celltable.notation import coco_cells as coco
from celltable.notation.coco import Document
from celltable.notation.coco import load as load_coco
from celltable.notation.livecell import PIXEL_UM, TYPES, parse
from celltable.plugins.dataset import STOPS, Damage, Dataset, File, Scan

from ._read import UnreadableImage, image_of, located, sample, tiff

WIDE: Final = ("train", "val", "test")
SIZES: Final = ("0_train2percent", "1_train4percent", "2_train5percent", "3_train25percent", "4_train50percent")
PARTS: Final = (*WIDE, *(f"{t.lower()}_{s}" for t in TYPES for s in WIDE), *SIZES)
JSON: Final = (
    r"(?:LIVECell/livecell_coco_(?P<wide>train|val|test)|LIVECell_single_cells/(?P<type>\w+)/(?:livecell_(?:(?P=type)_)?)?(?P<single>train|val|test)"
    r"|LIVECell_dataset_size_split/(?P<size>\d_train\d+percent))\.json"
)
IMAGE: Final = r"(?:livecell_(?P<folder>test|train_val)_images/(?:[^/]+/)?)?(?P<stem>[A-Za-z0-9]+_Phase_[^/]+)\.tif"


@dataclass(frozen=True, slots=True)
class Item:
    """An image of one annotation file; `part` is None for an image that is not in any file."""

    image_id: str
    part: str | None
    key: Any
    file: str
    size: tuple[int, int]
    source: dict[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Shared:
    """The annotations by part and the image files by stem."""

    annotations: dict[str, Any]
    files: dict[str, Entry]


def scan(release: Release, parts: tuple[str, ...]) -> Scan:
    """List the images of the chosen annotation files, each parsed once, then images that are not in any file."""
    files = {m["stem"]: e for e, m in release.match(IMAGE)}
    findings: list[Finding] = []
    documents = {name: load_coco(release.extract(e)) for name, e in _chosen(release, parts).items()}
    items = _items(documents, findings)
    listed = {item.file for item in items}
    if not parts:
        items += [Item(stem, None, None, stem, (0, 0)) for stem in files if stem not in listed]
    missing = [i for i in items if i.file not in files]
    if missing:
        text = f"{len(missing):,} of {len(items):,} annotated images have no file, the first '{missing[0].file}.tif'"
        findings.append(Finding("missing-image", text, "warning", value=float(len(missing))))
    items.sort(key=lambda i: i.image_id)
    return Scan(items, tuple(findings), Shared({n: coco.Annotations(d) for n, d in documents.items()}, files))


def _chosen(release: Release, parts: tuple[str, ...]) -> dict[str, Entry]:
    """Choose annotation files by part, in the order of PARTS; by default those of all types, or else every file."""
    files: dict[str, Entry] = {}
    for entry, m in release.match(JSON):
        files[m["wide"] or m["size"] or f"{m['type']}_{m['single']}"] = entry
    wanted = parts or tuple(p for p in WIDE if p in files) or tuple(files)
    absent = [p for p in wanted if p not in files]
    if absent:
        raise InputError(
            f"the release has no annotation file for part {absent[0]}; found {', '.join(files) or 'none'}."
        )
    return {p: files[p] for p in PARTS if p in wanted}


def _items(documents: dict[str, Document], findings: list[Finding]) -> list[Item]:
    items: list[Item] = []
    seen: dict[str, str] = {}
    for part, document in documents.items():
        annotations = coco.Annotations(document)
        known = {r.get("id") for r in document.images}
        findings += coco.whole_file(annotations, known, f"annotations of {part}")
        listed = Counter(PurePosixPath(str(r.get("file_name"))).stem for r in document.images)
        for record in sorted(document.images, key=lambda r: (str(r.get("file_name")), str(r.get("id")))):
            items.append(_item(record, part, listed, seen))
    return items


def _item(record: dict[str, Any], part: str, listed: Counter[str], seen: dict[str, str]) -> Item:
    stem = PurePosixPath(str(record.get("file_name"))).stem
    image_id = stem if stem not in seen else f"{stem}#{record.get('id')}"
    findings = []
    if listed[stem] > 1:
        text = f"{stem} is listed {listed[stem]} times in {part}, under different ids"
        findings.append(Finding("image-listed-twice", text, "warning", image_id, value=float(listed[stem])))
    if seen.get(stem, part) != part:
        text = f"{stem} is in {seen[stem]} and in {part}"
        findings.append(Finding("image-in-two-splits", text, "error", image_id))
    seen.setdefault(stem, part)
    size = coco.size_of(record)
    if size is None:
        findings.append(Finding("invalid-size", f"{stem} does not state a valid height and width", "error", image_id))
    names = {k: str(record[k]) for k in ("original_filename", "url") if record.get(k)}
    source = {k: v for k, v in names.items() if v != f"{stem}.png"}
    return Item(image_id, part, record.get("id"), stem, size or (0, 0), source, tuple(findings))


def load(release: Release, shared: Shared, item: Item) -> Sample:
    """Read an image: each annotation is a cell, with its published polygon, area and box; overlaps are kept."""
    findings = list(item.findings)
    image = _image(release, shared, item, findings)
    if item.part is None:
        return sample(release, image, Instances.empty(image.size), findings)
    made: Sample = shared.annotations[item.part].sample(item.key, image, findings)
    cells = made.instances.with_columns(kind="cell", class_name=None, annotator="manual")
    return sample(release, image, cells, made.findings)


def _image(release: Release, shared: Shared, item: Item, findings: list[Finding]) -> Image:
    entry = shared.files.get(item.file)
    try:
        image = Image(item.image_id, *item.size) if entry is None else image_of(release, item.image_id, entry)
    except UnreadableImage as exc:
        image, entry = Image(item.image_id, *item.size), None
        findings.append(Finding("unreadable-image", str(exc), "error", item.image_id))
    if entry is not None and item.part is not None and min(item.size) and image.size != item.size:
        text = f"{item.file}.tif is {image.height} × {image.width} px; its record says {item.size[0]} × {item.size[1]}"
        findings.append(Finding("size-mismatch", text, "error", item.image_id))
    name = parse(item.file)
    if name is None or name.cell_type not in TYPES:
        text = f"'{item.file}' does not follow TYPE_Phase_WELL_LOCATION_TIME_CROP; cell type and well are unknown"
        findings.append(Finding("unexpected-name", text, "warning", item.image_id))
    split = item.part.rpartition("_")[2] if item.part else None
    return replace(
        image, channels=("phase",), modality="phase-contrast", magnification=10.0, pixel_size_um=PIXEL_UM,
        pixels=() if entry is None else (located(entry),), split="train" if split and "percent" in split else split,
        annotated=item.part is not None, cell_type=name.cell_type if name else None,
        leakage_group=f"{name.cell_type} {name.well}" if name else None, group_source="published" if name else None,
        metadata={
            **(name.metadata if name else {}), **item.source,
            **({"coco_id": str(item.key)} if item.key is not None else {}),
        },
    )  # fmt: skip


def example(folder: Path, seed: int = 0) -> Path:
    """Write the wide files and one of a cell type: an image twice, one in two splits, annotations as an object."""
    from celltable.synthetic import generate

    root = folder / "LIVECell_dataset_2021"
    numbers = iter(range(1, 10_000))
    wells = {"train": ("A172", "A7"), "val": ("BV2", "B4"), "test": ("SkBr3", "G3")}
    for k, (part, (cell_type, well)) in enumerate(wells.items()):
        document: dict[str, Any] = {"images": [], "annotations": [], "categories": [_CATEGORY]}
        for i in range(2):
            stem = f"{cell_type}_Phase_{well}_1_0{i}d00h00m_{i + 1}"
            scene = generate("phase-contrast", size=(104, 140), cells=7, seed=seed * 100 + k * 10 + i)
            group = "test" if part == "test" else "train_val"
            path = root / "images" / f"livecell_{group}_images" / cell_type / f"{stem}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tiff(scene.pixels, compression="lzw"))
            _annotate(document, stem, scene.label_map, numbers)
            if part == "train" and i == 0:
                _annotate(document, stem, scene.label_map, numbers)
            if part == "val" and i == 0:
                first = generate("phase-contrast", size=(104, 140), cells=7, seed=seed * 100)
                _annotate(document, "A172_Phase_A7_1_00d00h00m_1", first.label_map, numbers)
        annotations = root / "annotations"
        if part == "test":
            _write_json(
                annotations / "LIVECell_single_cells" / cell_type.lower() / "test.json", _of_first_image(document)
            )
            document["annotations"] = {str(a["id"]): a for a in document["annotations"]}
        _write_json(annotations / "LIVECell" / f"livecell_coco_{part}.json", document)
    return root


def _of_first_image(document: dict[str, Any]) -> dict[str, Any]:
    first = document["images"][0]
    cells = [a for a in document["annotations"] if a["image_id"] == first["id"]]
    return {**document, "images": [first], "annotations": cells}


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


_CATEGORY: Final = {"supercategory": "cell", "id": 1, "name": "cell"}


def _annotate(document: dict[str, Any], stem: str, labels: Any, numbers: Any) -> None:
    from celltable.geometry import masks, outline, polygon

    _, drawn = masks.from_label_map(labels)
    key = next(numbers)
    height, width = labels.shape
    document["images"].append(
        {"id": key, "width": width, "height": height, "file_name": f"{stem}.tif", "original_filename": f"{stem}.png",
         "url": f"https://darwin.v7labs.com/api/images/{key}/original"}
    )  # fmt: skip
    for rings, box in zip(outline.polygons(drawn), drawn.boxes.tolist(), strict=True):
        ring = max((r for r in rings if not r.hole), key=lambda r: r.area)
        flat = (ring.points_xy.astype(float) + 0.25).ravel().tolist()
        area = float(polygon.areas([[flat]])[0])
        document["annotations"].append(
            {"id": next(numbers), "image_id": key, "category_id": 1, "segmentation": [flat], "area": area,
             "bbox": [float(v) for v in box], "iscrowd": 0}
        )  # fmt: skip


_BASE: Final = "http://livecell-dataset.s3.eu-central-1.amazonaws.com/LIVECell_dataset_2021"

DATASET = Dataset(
    name="livecell",
    title="LIVECell",
    description="Phase-contrast images of eight cell lines with every cell outlined by hand: 5,239 images, 1.69 "
    "million cells that may overlap. Only the file name states the cell type; train and val share wells by design.",
    licence="CC BY-NC 4.0",
    non_commercial=True,
    redistribute=False,
    citation="Edlund et al.: LIVECell, a large-scale dataset for label-free live cell segmentation. "
    "Nature Methods 18:1038 (2021)",
    doi="10.1038/s41592-021-01249-6",
    source=f"{_BASE}/",
    modality=("phase-contrast",),
    target=("cell",),
    group="well",
    parts=PARTS,
    default_parts=WIDE,
    counts={("train", "images"): 3253, ("val", "images"): 570, ("test", "images"): 1564, ("", "instances"): 1_686_352},
    files=(
        File(f"{_BASE}/images.zip", "images.zip"),
        *(
            File(f"{_BASE}/annotations/LIVECell/livecell_coco_{p}.json", f"annotations/LIVECell/livecell_coco_{p}.json")
            for p in WIDE
        ),
    ),
    layout="LIVECell_dataset_2021/images.zip (or images/livecell_{test,train_val}_images/[<Type>/]*.tif)\n"
    "LIVECell_dataset_2021/annotations/LIVECell/livecell_coco_{train,val,test}.json\n"
    "LIVECell_dataset_2021/annotations/LIVECell_single_cells/<type>/{train,val,test}.json\n"
    "LIVECell_dataset_2021/annotations/LIVECell_dataset_size_split/<n>_train<p>percent.json",
    protocols=("ap_livecell", "ar_livecell", "afnr_livecell"),
    expected_findings=("image-listed-twice", "image-in-two-splits", "annotations-dict"),
    damages=(
        Damage("SkBr3_Phase_G3_1_01d00h00m_2.tif", "missing-image", "unreadable-image", "truncated-image"),
        Damage("livecell_coco_test.json", "", STOPS, smaller=""),  # without the file, its images are unlabelled
    ),
    scan=scan,
    load=load,
    example=example,
)
