"""COCO annotations: instances or results, masks as run lengths or polygons, one JSON file for all images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from celltable.cells import Image, Sample
from celltable.errors import InputError
from celltable.notation.coco import load
from celltable.notation.coco_cells import samples as coco_samples
from celltable.notation.names import to_name
from celltable.plugins.format import ConversionReport, Format

from ._coco_write import CocoWriter
from ._files import open_files, with_pixels
from ._out import new_file, new_folder
from ._pixels import encode, write_bytes
from ._report import GIVEN_PIXELS, GIVEN_SCORE, tally

KEEPS: Final = frozenset(
    {
        *("overlap", "holes", "components", "ids", "classes", "multi-class", "scores", "crowd", "kind", "exact-mask"),
        *("polygons", "image-size", "empty-images", "details", "image-details"),
    }
)
RESULTS_KEEP: Final = frozenset({"overlap", "holes", "components", "classes", "scores", "exact-mask"})
SEGMENTATIONS: Final = ("auto", "rle", "uncompressed", "polygon")
LAYOUTS: Final = ("instances", "results", "fiftyone")


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
    """Write one COCO JSON, or a folder of images with one.

    Parameters
    ----------
    layout
        ``instances`` (a data set), ``results`` (a list of predictions, as pycocotools' ``loadRes`` takes it) or
        ``fiftyone`` (a folder: ``data/`` with the images, ``labels.json``).
    segmentation
        ``auto`` (the published polygon where there is one, else compressed run lengths), ``rle``, ``uncompressed``
        (run lengths as numbers) or ``polygon`` (outlines of the masks; a cell with a hole stays run lengths).
    ids
        ``auto`` keeps the annotation ids of images that came from COCO, except 0, which stock evaluation never matches,
        and repeated ones; ``published`` keeps 0 too; ``new`` counts from 1.
    like
        A COCO JSON whose info, licenses and categories (with their ids) are taken over.
    """
    _check("layout", layout, LAYOUTS)
    _check("segmentation", segmentation, SEGMENTATIONS)
    _check("ids", ids, ("auto", "published", "new"))
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
    report.add(GIVEN_PIXELS, int(sample.load_pixels is None))  # FiftyOne refuses labels whose image is not there
    black = np.zeros(sample.image.size, np.uint8)
    data, ending = encode(black if sample.load_pixels is None else sample.pixels())
    name = to_name(sample.image.image_id) + ending
    write_bytes(folder / "data" / name, data)
    report.written["files"] += 1
    return name


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InputError(f"{name} is '{value}'; expected one of {', '.join(allowed)}")


def read(path: Path, images: Mapping[str, Image] | None = None, *, reference: Path | None = None) -> Iterator[Sample]:
    """Read a COCO file of instances or results, or a folder of ``data/`` and ``labels.json``.

    Parameters
    ----------
    images
        Known images by id: their sizes and pixels replace those of the file. Results name no sizes: they need these,
        or `reference`.
    reference
        For results: the COCO file of the images and categories that they were made for.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".zip":
        yield from _read_folder(path, images or {})
        return
    yield from coco_samples(load(path), images or {}, path.name, reference)


def _read_folder(path: Path, images: Mapping[str, Image]) -> Iterator[Sample]:
    with open_files(path) as files:
        labels = [m for m in files.names if PurePosixPath(m).name == "labels.json"]
        files.expect(labels, "data/ and labels.json")
        document = load(files.local(labels[0]))
        pictures = {PurePosixPath(m).name: m for m in files.names if "data" in PurePosixPath(m).parts}
        for sample in coco_samples(document, images, labels[0], None):
            member = pictures.get(PurePosixPath(sample.image.metadata.get("file_name", "")).name)
            yield with_pixels(files, sample, member) if member else sample


FORMAT = Format(
    name="coco",
    title="COCO",
    description=(
        "One JSON file of images, annotations and categories; masks as compressed or uncompressed run lengths or "
        "polygons (https://cocodataset.org/#format-data). Published polygons, areas and boxes are kept as they are; "
        "what COCO has no word for stands in further keys, which other tools pass over."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    options={
        "layout": "instances, results (a list of predictions) or fiftyone (a folder: data/ and labels.json)",
        "segmentation": "auto (published polygons, else run lengths), rle, uncompressed or polygon",
        "ids": "auto (annotation ids of COCO kept, except 0 and repeated ones), published (0 too) or new",
        "reference": "reading results: the COCO file of the images and categories they were made for",
        "like": "a COCO JSON whose info, licenses and categories are taken over",
        "overwrite": "replace an existing file",
    },
    extensions=(".json",),
)
