"""LIVECell's annotation files: all cell types, single cell types and nested training-set sizes, from one store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError
from celltable.notation.coco import Numbers
from celltable.notation.names import to_name
from celltable.notation.polygons import Shapes, outlines, published
from celltable.notation.rows import COCO_POLYGONS, Piece, rings, rows
from celltable.plugins.format import ConversionReport, Format
from celltable.plugins.losses import EMPTY_MASKS, HOLES, tally
from celltable.plugins.options import Option
from celltable.subsets import LIVECELL_PERCENTS, nested

from ._coco_write import CocoWriter
from ._out import new_folder
from ._pixels import encode_tiff, write_bytes

KEEPS: Final = frozenset({"overlap", "components", "exact-mask", "polygons", "image-size", "empty-images"})
PARTS: Final = ("train", "val", "test")
CATEGORY_ID: Final = 1
CATEGORY: Final = {"supercategory": "cell", "id": CATEGORY_ID, "name": "cell"}
INFO: Final = {
    "year": "2021",
    "version": "1.0",
    "description": "LIVECell 2021 Dataset",
    "contributor": "Sartorius",
    "url": "http://livecell-dataset.s3.eu-central-1.amazonaws.com/",
    "date_created": "2021/01/19",
}
LICENCES: Final = [
    {
        "id": 1,
        "name": "Attribution-NonCommercial 4.0 International License",
        "url": "https://creativecommons.org/licenses/by-nc/4.0/",
    }
]
ANNOTATION: Final = ("id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd")
UNLABELLED: Final = "unlabelled images: unannotated images left out"
NO_PART: Final = "split: images without a part (train, val, test) put into train"
NO_TYPE: Final = "cell type: images without one, which are only in the files of all types"


def _image_record(image: Image, number: int) -> bytes:
    name = _stem(image)
    record = {"id": number, "width": image.width, "height": image.height, "file_name": f"{name}.tif"}
    record["original_filename"] = image.metadata.get("original_filename", f"{name}.png")
    return msgspec.json.encode(record | {"url": image.metadata.get("url", "")})


def _annotations(cells: Instances, image_number: int, ids: list[int], report: ConversionReport) -> list[Piece]:
    """Make the rows of an image's cells: published polygons, and outlines of masks without one."""
    drawn = np.fromiter((p is not None for p in cells.column("polygon")), bool, len(cells))
    traced = outlines(cells.rle, ~drawn)
    report.add(HOLES, int(np.count_nonzero(traced.holed)))
    shapes = published(cells), _filled(traced)
    areas = _areas(shapes[0]) + _areas(shapes[1])
    boxes = np.reshape(cells.bbox, (-1, 4)).astype(np.float64)
    head = b',"image_id":%d,"category_id":%d,"segmentation":' % (image_number, CATEGORY_ID)
    return [
        (b'{"id":', np.array(ids, np.int64), head),
        *((b"", rings(s, COCO_POLYGONS), b"") for s in shapes),
        (b',"area":', _published_or(areas, cells.column("published_area")), b""),
        (b',"bbox":', _published_or(boxes, cells.column("published_bbox")), b',"iscrowd":'),
        (b"", [int(c) for c in cells.column("crowd")], b"}"),
    ]


def _filled(shapes: Shapes) -> Shapes:
    """Keep only the outer rings."""
    lengths, outer = np.diff(shapes.ring_first), np.zeros(len(shapes.ring_first) - 1, bool)
    outer[shapes.part_first[:-1]] = True
    xy: Any = shapes.xy.reshape(-1, 2)[np.repeat(outer, lengths)].ravel()
    first = np.concatenate([[0], np.cumsum(lengths[outer])])
    return Shapes(xy, first, np.arange(len(first)), shapes.cell_first)


def _areas(shapes: Shapes) -> NDArray[np.float64]:
    """Compute the shoelace area of each cell in px², 0 for a cell without parts; all rings are outer rings."""
    x, y = shapes.xy.reshape(-1, 2).astype(np.float64).T
    following = np.arange(1, len(x) + 1)
    following[shapes.ring_first[1:] - 1] = shapes.ring_first[:-1]
    twice = np.concatenate([[0.0], x * y[following] - x[following] * y])
    found = np.zeros(len(shapes.parts))
    owner = np.repeat(np.arange(len(found)), shapes.parts)
    ring = np.repeat(np.arange(len(owner)), np.diff(shapes.ring_first))
    np.add.at(found, owner, np.abs(np.bincount(ring, twice[1:], len(owner))) / 2)
    return found


def _published_or(measured: NDArray[np.float64], given: list[Any]) -> list[Any]:
    return [m if p is None else p for p, m in zip(given, measured.tolist(), strict=True)]


@dataclass(slots=True)
class _Export:
    """An export in progress: the open files, and the training images written so far, from which subsets are drawn."""

    folder: Path
    stack: ExitStack
    report: ConversionReport
    as_published: bool
    pixels: bool
    train: IO[bytes] = field(init=False)
    numbers: Numbers = field(default_factory=Numbers)  # ids of images and cells across all files
    writers: dict[str, CocoWriter] = field(default_factory=dict)
    spans: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # training image → its bytes in `train`
    types: dict[str, str] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.train = self.stack.enter_context(TemporaryFile(dir=self.folder))  # noqa: SIM115

    def add(self, sample: Sample) -> None:
        """Add one image to the file of its part and to the file of its cell type."""
        image = sample.image
        if not image.annotated:
            self.report.add(UNLABELLED)
            return
        part = image.split if image.split in PARTS else "train"
        self.report.add(NO_PART, int(image.split != part))
        sample = replace(sample, instances=_outlined(sample.instances, self.report))
        _tally(self.report, sample, self.pixels)
        self.sources.add(image.dataset)
        head, cells = self._records(sample)
        self._writer(f"LIVECell/livecell_coco_{part}").put(head, cells)
        kind = type_folder(image.cell_type or "")
        if kind:
            name = f"livecell_{kind}_{part}" if self.as_published else part
            self._writer(f"LIVECell_single_cells/{kind}/{name}", self.as_published).put(head, cells)
        self.report.add(NO_TYPE, int(not kind))
        if part == "train":
            self._remember(image.image_id, kind, head, cells)
        if self.pixels and sample.load_pixels is not None:
            self._picture(sample)

    def _records(self, sample: Sample) -> tuple[bytes, bytes]:
        """Format the record of an image and those of its cells, one per line."""
        image, cells = sample.image, sample.instances
        from_coco = "coco_id" in image.metadata
        number = self.numbers.take(image.metadata.get("coco_id"), lowest=0)
        ids = self.numbers.take_many(cells.column("source_id") if from_coco else None, len(cells))
        pieces = _annotations(cells, number, ids, self.report)
        return _image_record(image, number), rows(len(cells), pieces, b",\n")

    def _remember(self, image_id: str, kind: str, head: bytes, cells: bytes) -> None:
        start = self.train.tell()
        self.train.write(head + cells)
        self.spans[image_id] = start, start + len(head), start + len(head) + len(cells)
        self.types[image_id] = kind

    def _picture(self, sample: Sample) -> None:
        image = sample.image
        group = "test" if image.split == "test" else "train_val"
        place = self.folder / "images" / f"livecell_{group}_images" / to_name(image.cell_type or "unknown")
        path = place / f"{_stem(image)}.tif"
        if not path.exists():
            write_bytes(path, encode_tiff(sample.pixels(), "lzw"))
            self.report.written["files"] += 1

    def _writer(self, name: str, keyed: bool = False) -> CocoWriter:
        if name not in self.writers:
            path = self.folder / "annotations" / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = CocoWriter(path, keyed=keyed)
            writer.head["categories"].append(CATEGORY)
            self.writers[name] = self.stack.enter_context(writer)
        return self.writers[name]

    def finish(self, seed: int) -> None:
        """Draw the training sets of 2, 4, 5, 25 and 50 %, and complete all files."""
        if self.spans:
            ids = list(self.spans)
            drawn = nested(ids, LIVECELL_PERCENTS, strata=[self.types[i] for i in ids], seed=seed)
            for k, (percent, chosen) in enumerate(drawn.items()):
                writer = self._writer(f"LIVECell_dataset_size_split/{k}_train{percent}percent")
                for image_id in chosen:
                    start, middle, end = self.spans[image_id]
                    self.train.seek(start)
                    writer.put(self.train.read(middle - start), self.train.read(end - middle))
        if self.sources == {"livecell"}:
            for writer in self.writers.values():
                writer.head |= {"info": INFO, "licenses": LICENCES}
        self.report.written["files"] += len(self.writers)


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    seed: int = 0,
    pixels: bool = False,
    as_published: bool = False,
    overwrite: bool = False,
) -> ConversionReport:
    """Write ``annotations/`` of a LIVECell release: all its files from the images of train, val and test.

    ``LIVECell/livecell_coco_{train,val,test}.json`` hold all images of a part,
    ``LIVECell_single_cells/<type>/{train,val,test}.json`` those of one cell type, and
    ``LIVECell_dataset_size_split/{0_train2,1_train4,2_train5,3_train25,4_train50}percent.json`` nested random
    training sets, with every cell type in proportion. Keys, their order, ids and polygons are those of the
    release; the order of the images is that of their names. A mask without a published polygon is outlined. Images
    that nobody annotated are left out, as in the release; annotated ones of no part go to train.

    Parameters
    ----------
    seed
        Seed of the training sets. The published ones were also drawn at random and contain other images.
    pixels
        Also write ``images/livecell_{train_val,test}_images/<type>/<name>.tif``.
    as_published
        Single-type files as they were first published: ``livecell_<type>_<part>.json``, annotations an object by id.

    Raises
    ------
    InputError
        If no image is annotated.
    """
    report = ConversionReport()
    with new_folder(out, overwrite) as folder, ExitStack() as stack:
        export = _Export(folder, stack, report, as_published, pixels)
        for sample in samples:
            export.add(sample)
        if not export.writers:
            raise InputError("no image is annotated; LIVECell's files list only annotated images.")
        export.finish(seed)
    return report


def type_folder(cell_type: str) -> str:
    """Name the folder of a cell type.

    >>> type_folder("SH-SY5Y"), type_folder("SkBr3"), type_folder("")
    ('shsy5y', 'skbr3', '')
    """
    return re.sub(r"[^a-z0-9]", "", cell_type.lower())


def _stem(image: Image) -> str:
    """Return the file name without its extension; the id of an image listed twice ends in its number."""
    return to_name(image.image_id.removesuffix(f"#{image.metadata.get('coco_id')}"))


def _outlined(cells: Instances, report: ConversionReport) -> Instances:
    """Keep the cells with pixels or a published polygon, and count the others as lost."""
    drawn = np.fromiter((p is not None for p in cells.column("polygon")), bool, len(cells))
    keep = (np.asarray(cells.area) > 0) | drawn
    report.add(EMPTY_MASKS, int(np.count_nonzero(~keep)))
    return cells if keep.all() else cells.take(keep)


def _tally(report: ConversionReport, sample: Sample, pixels: bool) -> None:
    """Count what is lost; published areas and boxes are kept, and what file names state can be read back."""
    cells = sample.instances.with_columns(published_area=None, published_bbox=None, crowd=False)
    if set(cells.column("annotator")) <= {"manual"}:
        cells = cells.with_columns(annotator=None)
    named = sample.image.dataset == "livecell"
    known = {f.name for f in fields(Image)} if named else {"split", "cell_type"}
    tally(report, replace(sample, instances=cells), KEEPS | ({"pixels"} if pixels else set()), known, kind="cell")


FORMAT = Format(
    name="livecell",
    title="LIVECell annotation files",
    description=(
        "The annotations folder of a LIVECell release: COCO files of all cell types, of single ones and of nested "
        "training sets of 2, 4, 5, 25 and 50 %, with polygons and one category "
        "(https://sartorius-research.github.io/LIVECell/). The data set livecell reads it back, the format coco each "
        "file."
    ),
    keeps=KEEPS,
    write=write,
    write_options=(
        Option("seed", 0, "seed of the training sets of 2, 4, 5, 25 and 50 %", low=0),
        Option("pixels", False, "write the images as LZW TIFF, too"),
        Option(
            "as_published",
            False,
            "single-type files as first published: livecell_<type>_<part>.json, annotations by id",
        ),
    ),
)
