"""COCO annotations: one JSON file of instances or results, with masks as run lengths or polygons."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from celltable.cells import Image, Sample
from celltable.notation.coco import Document, class_names, load
from celltable.notation.coco_cells import samples as coco_samples
from celltable.notation.names import to_name
from celltable.plugins.format import About, ConversionReport, Format, Reading, Recognition, Strength
from celltable.plugins.losses import GIVEN_PIXELS, GIVEN_SCORE, tally
from celltable.plugins.options import Option
from celltable.plugins.peek import HEAD_BYTES, Outline, Peek

from ._coco_write import WRITTEN, CocoWriter
from ._files import open_files, with_pixels
from ._out import new_file, new_folder
from ._pixels import encode, write_bytes

KEEPS: Final = frozenset(
    {
        *("overlap", "holes", "components", "ids", "classes", "multi-class", "scores", "crowd", "kind", "exact-mask"),
        *("polygons", "image-size", "empty-images", "details", "image-details"),
    }
)
RESULTS_KEEP: Final = frozenset({"overlap", "holes", "components", "classes", "scores", "exact-mask"})
SEGMENTATIONS: Final = ("auto", "rle", "uncompressed", "polygon")
LAYOUTS: Final = ("instances", "results", "fiftyone")
IDS: Final = ("auto", "published", "new")


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    layout: str = "instances",
    segmentation: str = "auto",
    ids: str = "auto",
    like: Path | None = None,
    overwrite: bool = False,
) -> ConversionReport:
    """Write a COCO JSON, or a folder of images with one.

    Parameters
    ----------
    layout
        ``instances`` (a data set), ``results`` (a list of predictions for pycocotools' ``loadRes``) or
        ``fiftyone`` (a folder: ``data/`` with the images, ``labels.json``).
    segmentation
        ``auto`` (the published polygon if any, else compressed run lengths), ``rle``, ``uncompressed``
        (run lengths as numbers) or ``polygon`` (outlines of the masks; cells with holes are written as run lengths).
    ids
        ``auto`` keeps the annotation ids of images that came from COCO, except 0, which stock evaluation never matches,
        and repeated ones; ``published`` keeps 0 too; ``new`` counts from 1.
    like
        A COCO JSON whose info, licenses and categories (with their ids) are taken over.
    """
    report = ConversionReport()
    if layout == "fiftyone":
        with new_folder(out, overwrite) as folder:
            (folder / "data").mkdir()
            _write(
                samples,
                CocoWriter(folder / "labels.json", segmentation=segmentation, ids=ids, like=like),
                report,
                folder,
            )
        return report
    with new_file(out, overwrite) as path:
        results = layout == "results"
        _write(samples, CocoWriter(path, segmentation=segmentation, ids=ids, like=like, results=results), report)
    return report


def _write(samples: Iterable[Sample], writer: CocoWriter, report: ConversionReport, folder: Path | None = None) -> None:
    keeps = RESULTS_KEEP if writer.results else KEEPS
    keeps = keeps - {"polygons"} if writer.segmentation != "auto" else keeps
    keeps = keeps | {"pixels"} if folder is not None else keeps
    with writer:
        for sample in samples:
            tally(report, sample, keeps)
            if writer.results:
                report.add(GIVEN_SCORE, sum(s is None for s in sample.instances.column("score")))
            writer.add(sample, _write_pixels(sample, folder, report))
    report.written["files"] += 1


def _write_pixels(sample: Sample, folder: Path | None, report: ConversionReport) -> str:
    if folder is None:
        return ""
    report.add(GIVEN_PIXELS, int(sample.load_pixels is None))  # FiftyOne refuses labels without an image
    black = np.zeros(sample.image.size, np.uint8)
    data, ending = encode(black if sample.load_pixels is None else sample.pixels())
    name = to_name(sample.image.image_id) + ending
    write_bytes(folder / "data" / name, data)
    report.written["files"] += 1
    return name


def read(path: Path, images: Mapping[str, Image] | None = None, *, reference: Path | None = None) -> Reading:
    """Read a COCO file of instances or results, or a folder of ``data/`` and ``labels.json``.

    Parameters
    ----------
    images
        Known images by id, whose sizes and pixels replace those of the file. Results do not state sizes, so they need
        these or `reference`.
    reference
        For results: the COCO file with their images and categories.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".zip":
        return (yield from _read_folder(path, images or {}))
    document = load(path)
    yield from coco_samples(document, images or {}, path.name, reference)
    return about(load(Path(reference)) if document.results and reference else document)


def _read_folder(path: Path, images: Mapping[str, Image]) -> Generator[Sample, None, About]:
    with open_files(path) as files:
        labels = [m for m in files.names if PurePosixPath(m).name == "labels.json"]
        files.expect(labels, "data/ and labels.json")
        document = load(files.local(labels[0]))
        pictures = {PurePosixPath(m).name: m for m in files.names if "data" in PurePosixPath(m).parts}
        for sample in coco_samples(document, images, labels[0], None):
            member = pictures.get(PurePosixPath(sample.image.metadata.get("file_name", "")).name)
            yield with_pixels(files, sample, member) if member else sample
        return about(document)


def about(document: Document) -> About:
    """Read the classes in the order of the categories, and the title, source and licence that the file states."""
    info, licences = document.head.get("info"), document.head.get("licenses")
    info = info if isinstance(info, dict) else {}
    words = [str(info[key]) for key in ("contributor", "description", "year", "url") if info.get(key)]
    named = [x for x in licences if isinstance(x, dict)] if isinstance(licences, list) else []
    texts = [f"{x.get('name', '')} {x.get('url', '')}".strip() for x in named]
    restricted = re.compile(r"non-?commercial|by-nc", re.IGNORECASE)
    return About(
        classes=class_names(document),
        title="" if info.get("description") == WRITTEN else str(info.get("description") or ""),
        licence="; ".join(dict.fromkeys(text for text in texts if text)),
        citation=", ".join(words) if words != [WRITTEN] else "",
        non_commercial=any(restricted.search(text) for text in texts),
    )


def recognise(peek: Peek) -> Recognition | None:
    """Recognise JSON with ``images`` and ``annotations``, a list of results, or ``data/`` with ``labels.json``."""
    if not peek.is_file:
        labels = [n for n in peek.names if PurePosixPath(n).name == "labels.json"]
        beside = any("data" in PurePosixPath(n).parts for n in peek.names)
        if labels and beside and _instances(peek.outline(labels[0])):
            return Recognition(Strength.SIGNATURE, "data/ and a labels.json of COCO")
        return None
    outline = peek.outline(peek.path.name)
    if _instances(outline):
        return Recognition(Strength.SIGNATURE, "a JSON object with COCO's images and annotations")
    if outline.top == "[" and {"image_id", "category_id"} <= set(outline.members):
        return Recognition(Strength.SIGNATURE, "a JSON list of COCO results")
    if outline.top == "[" and not outline.members and peek.size(peek.path.name) < HEAD_BYTES:
        return Recognition(Strength.CONTENT, "an empty JSON list, like COCO results without predictions")
    return None


def _instances(outline: Outline) -> bool:
    if outline.top != "{" or "shapes" in outline.members or outline.members.get("type") == "FeatureCollection":
        return False
    of_images, of_cells = outline.first.get("images", frozenset()), outline.first.get("annotations", frozenset())
    known = {"images", "annotations", "categories"} & set(outline.members)
    return len(known) > 1 or "file_name" in of_images or "image_id" in of_cells or known == {"images"}


FORMAT = Format(
    name="coco",
    title="COCO",
    description=(
        "One JSON file of images, annotations and categories; masks as compressed or uncompressed run lengths or "
        "polygons (https://cocodataset.org/#format-data). Published polygons, areas and boxes are kept unchanged; "
        "what COCO cannot express is stored in additional keys, which other tools ignore."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    read_options=(Option("reference", None, "for results: the COCO file with their images and categories", type=Path),),
    write_options=(
        Option(
            "layout",
            "instances",
            "a data set, a list of predictions, or a folder of data/ and labels.json",
            choices=LAYOUTS,
        ),
        Option(
            "segmentation",
            "auto",
            "how masks are written; auto: published polygons, else run lengths",
            choices=SEGMENTATIONS,
        ),
        Option(
            "ids",
            "auto",
            "annotation ids; auto: those of COCO kept, except 0 and repeated ones; published: 0 too",
            choices=IDS,
        ),
        Option("like", None, "a COCO JSON whose info, licenses and categories are copied", type=Path),
    ),
    extensions=(".json",),
)
