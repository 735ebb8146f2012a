"""The layout of the COCO collection of nuclei sets: one folder and one JSON per source, large images tiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample
from celltable.geometry.look import image_class, look_at
from celltable.notation.coco import Numbers
from celltable.notation.names import to_name
from celltable.notation.nuclei_tiles import Window, cropped, redrawn, shrunk, shrunk_pixels, windows
from celltable.plugins.format import ConversionReport, Format
from celltable.plugins.losses import (
    DETAILS,
    EMPTY_MASKS,
    KIND,
    PARTIAL,
    PIXELS_CHANGED,
    POLYGONS,
    UNLABELLED,
    drop_empty,
    n_given,
    tally,
)
from celltable.plugins.options import Option

from ._coco_write import CocoWriter
from ._out import new_folder
from ._pixels import encode, write_bytes

KEEPS: Final = frozenset(
    {
        *("overlap", "holes", "components", "ids", "scores", "crowd", "exact-mask", "image-size", "empty-images"),
        *("pixels", "image-details"),
    }
)
TILE: Final = 512
RESIZE: Final = 0.4
JPEG_QUALITY: Final = 75  # default of imageio and Pillow
TILED: Final = frozenset({"kumar", "monuseg", "tnbc", "janowczyk"})
RESIZED: Final = frozenset({"bbbc020", "isbi2009"})
OUTLINED: Final[Mapping[str, bool]] = {"bbbc007": True, "bbbc018": True, "isbi2009": False, "cluster_nuclei": False}
MIN_CELLS: Final = 3  # the collection drops tiles with fewer nuclei
MIN_AREA_PX: Final = 5  # the collection drops smaller masks
SOURCES: Final = {  # data set → folder of images and name of the JSON
    "cluster_nuclei": "cluster_nuclei",
    "bbbc006": "BBBC006",
    "bbbc007": "BBBC007",
    "bbbc018": "BBBC018",
    "bbbc020": "BBBC020",
    "kumar": "nucleisegmentationbenchmark",
    "isbi2009": "2009_ISBI_2DNuclei",
    "janowczyk": "nuclei_partial_annotations",
    "tnbc": "TNBC_NucleiSegmentation",
}
DEFECTS: Final = {
    "jpeg": "images are stored as JPEG of 8 bits and three channels",
    "zero-ids": "ids begin at 0; stock evaluation never matches annotation 0",
    "swapped-axes": "tile names give the rows first, and rows are cut up to the image's width, columns up to its "
    "height, so that parts of images that are not square are in no tile",
    "ragged-tiles": "the rest of an image becomes a smaller tile; otherwise the last tile reaches back",
    "sparse-tiles": f"tiles with fewer than {MIN_CELLS} nuclei are left out",
    "tiny-masks": f"masks under {MIN_AREA_PX} px are left out of tiles",
    "redrawn-outlines": "nuclei of BBBC007, BBBC018, ISBI and cluster_nuclei lose the outermost rows and columns, are "
    "dropped under 30 px, over half of the image or with an overlap of more than 30 px, and grow by 3 x 3 px in the "
    "first two",
    "unflagged-partial": "partial annotation is not marked",
    "unlabelled-as-empty": "images without annotation are not marked",
    "bare-stage-2": "stage_2_test.json has no annotations",
}
NUCLEAR: Final = ("dna", "dapi", "hoechst", "nucleus", "nuclei")
WHOLE_CELLS: Final = "kind: whole cells left out, the collection has nuclei"
ONE_CHANNEL: Final = "pixels: images reduced to their nuclear channel"
PIECES: Final = "tiles: rows with a piece of a nucleus cut by a tile's border"
AGAIN: Final = "tiles: rows of a nucleus that is also in another tile"
OUTSIDE: Final = "tiles: nuclei that are not in any written tile"
DROPPED: Final = f"as published: tiles left out, with fewer than {MIN_CELLS} nuclei"
BARE: Final = "as published: nuclei of stage 2 left out"
REDRAWN: Final = "as published: nuclei lost in redrawing outlines"
SHRUNK: Final = f"masks: nuclei redrawn at {RESIZE} of their size"


@dataclass(slots=True)
class _Export:
    """An export in progress: the open JSON of each source."""

    folder: Path
    stack: ExitStack
    defects: frozenset[str]
    report: ConversionReport
    tile: int
    writers: dict[str, CocoWriter] = field(default_factory=dict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def add(self, sample: Sample) -> None:
        folder, name = _place(sample)
        sample = self._named(_one_channel(self.report, _nuclei(self.report, sample)), folder)
        if "bare-stage-2" in self.defects and name == "stage_2_test":
            self.report.add(BARE, len(sample.instances))
            sample = replace(sample, instances=Instances.empty(sample.image.size))
        if "redrawn-outlines" in self.defects and sample.image.dataset in OUTLINED:
            cells = redrawn(sample.instances, OUTLINED[sample.image.dataset])
            self.report.add(REDRAWN, len(sample.instances) - len(cells))
            sample = replace(sample, instances=cells)
        pieces: Iterable[Sample] = [sample]
        if sample.image.dataset in TILED:
            pieces = self._tiles(sample)
        elif sample.image.dataset in RESIZED:
            pieces = [_shrunk(self.report, sample)]
        for piece in pieces:
            self._write(self._flagged(piece), folder, name)

    def _named(self, sample: Sample, folder: str) -> Sample:
        """Give the sample a unique name in the folder: that of its release, even after a merge."""
        image = sample.image
        bare = image.image_id.removeprefix(f"{image.dataset}/")
        name = image.image_id if f"{folder}/{bare}" in self.names else bare
        self.names.add(f"{folder}/{name}")
        return replace(sample, image=replace(image, image_id=name))

    def _write(self, sample: Sample, folder: str, name: str) -> None:
        tally(self.report, sample, KEEPS | {"details", "kind", "polygons"})  # losses of these are counted by `_nuclei`
        if sample.load_pixels is not None:  # read and shrunk once, used twice
            pixels = sample.pixels()
            sample = replace(sample, load_pixels=lambda: pixels)
        file_name = self._picture(sample, folder)
        kind = nuclei_class(sample)
        cells = sample.instances.with_columns(class_name=None, class_names=None, class_scores=None)
        sample = replace(sample, instances=cells)
        n_images, n_cells = self.counts.get(name, (0, 0))
        self.counts[name] = n_images + 1, n_cells + len(cells)
        self._writer(name).add(sample, file_name, nuclei_class=kind)
        if name == "stage1_train":
            part = "val" if kind.startswith("purple_") else "train"
            local = self._writer(f"stage_1_local_{part}_split")
            first = 0 if "zero-ids" in self.defects else 1  # the same records as in the whole file, ids included
            local.image_numbers, local.cell_numbers = Numbers(n_images + first - 1), Numbers(n_cells + first - 1)
            local.add(sample, file_name, nuclei_class=kind)

    def _flagged(self, sample: Sample) -> Sample:
        image = sample.image
        if "unflagged-partial" in self.defects:
            self.report.add(PARTIAL, int(not image.exhaustive))
            image = replace(image, exhaustive=True)
        if "unlabelled-as-empty" in self.defects:
            self.report.add(UNLABELLED, int(not image.annotated))
            image = replace(image, annotated=True)
        return replace(sample, image=image)

    def _picture(self, sample: Sample, folder: str) -> str:
        name = to_name(sample.image.image_id)
        if sample.load_pixels is None:
            return f"{name}.png"
        pixels = sample.pixels()
        if "jpeg" in self.defects:
            data, ending = _jpeg(pixels), ".jpg"
            self.report.add(PIXELS_CHANGED)
        else:
            data, ending = encode(pixels)
        write_bytes(self.folder / folder / f"{name}{ending}", data)
        self.report.written["files"] += 1
        return f"{name}{ending}"

    def _writer(self, name: str) -> CocoWriter:
        if name not in self.writers:
            place = self.folder / "annotations"
            place.mkdir(exist_ok=True)
            first = 0 if "zero-ids" in self.defects else 1
            writer = CocoWriter(place / f"{name}.json", ids="new", segmentation="rle", first=first)
            writer.image_numbers = Numbers(first - 1)
            writer.categories["nucleus"] = 1
            writer.category_kinds["nucleus"] = "nucleus"
            writer.head["categories"].append({"supercategory": "nucleus", "id": 1, "name": "nucleus"})
            self.writers[name] = self.stack.enter_context(writer)
        return self.writers[name]

    def _tiles(self, sample: Sample) -> Iterator[Sample]:
        """Cut an image into tiles; one no larger than a tile stays whole, unless wrong names are to be reproduced."""
        swapped = "swapped-axes" in self.defects
        if max(sample.image.size) <= self.tile and not swapped:
            tiles = [sample]
        else:
            pixels = None if sample.load_pixels is None else sample.pixels()
            every = windows(sample.image.size, self.tile, "ragged-tiles" in self.defects, swapped)
            tiles = [_tile(sample, pixels, window, swapped) for window in every]
        if "tiny-masks" in self.defects:
            tiles = [replace(t, instances=t.instances.take(np.asarray(t.instances.area) >= MIN_AREA_PX)) for t in tiles]
        if "sparse-tiles" in self.defects:
            full = [t for t in tiles if len(t.instances) >= MIN_CELLS]
            self.report.add(DROPPED, len(tiles) - len(full))
            tiles = full
        self._account(sample.instances, [t.instances for t in tiles])
        yield from tiles

    def _account(self, cells: Instances, tiles: Sequence[Instances]) -> None:
        """Report what tiling did: nuclei cut, written more than once, or not in any tile."""
        ids = np.concatenate([np.zeros(0, np.int64), *(t.ids for t in tiles)])
        areas = np.concatenate([np.zeros(0, np.int64), *(np.asarray(t.area) for t in tiles)])
        full = dict(zip(cells.ids.tolist(), np.asarray(cells.area).tolist(), strict=True))
        written = set(ids.tolist())
        self.report.add(PIECES, sum(a < full[i] for i, a in zip(ids.tolist(), areas.tolist(), strict=True)))
        self.report.add(AGAIN, len(ids) - len(written))
        self.report.add(OUTSIDE, len(full) - len(written))


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    defects: Sequence[str] = (),
    as_published: bool = False,
    tile: int = TILE,
    overwrite: bool = False,
) -> ConversionReport:
    """Write ``<source>/<image>.png`` and ``annotations/<source>.json``, with local splits for stage1_train.

    Kumar, TNBC and Janowczyk are cut into tiles of `tile` pixels, named ``<image>.x<x1>_<x2>_y<y1>_<y2>``, that cover
    the image whole (the last ones reach back so that all are of one size); BBBC020 and ISBI are shrunk to 0.4. Cells
    cut by a tile's border are marked as truncated. Only nuclei are written, and of several channels the nuclear one.

    Parameters
    ----------
    defects
        Known defects of the published collection to reproduce (see DEFECTS), or ``all``.
    as_published
        The same as ``defects="all"``.
    tile
        Edge of a tile in pixels.
    """
    chosen = frozenset(DEFECTS) if as_published or "all" in defects else frozenset(defects)
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        with ExitStack() as stack:
            export = _Export(folder, stack, chosen, report, tile)
            for sample in samples:
                export.add(drop_empty(report, sample))
        report.written["files"] += len(export.writers)
    return report


def nuclei_class(sample: Sample) -> str:
    """Return ``<foreground>_<background>_<width>_<height>_<density>``: the image's own class, or else derived.

    The rule is `celltable.geometry.look.image_class`: colours of a grid of pixels, density by covered area and size.
    """
    image = sample.image
    own = image.metadata.get("nuclei_class") or image.image_class or ""
    if own and (own == image.metadata.get("nuclei_class") or f"{image.width}_{image.height}" in own):
        return own
    areas = np.asarray(sample.instances.area, np.int64) if image.annotated else None
    if sample.load_pixels is None:
        return f"unknown_unknown_{image.width}_{image.height}"
    return image_class(look_at(sample.pixels()), image.size, areas)


def _place(sample: Sample) -> tuple[str, str]:
    """Return the folder of the images and the name of the JSON."""
    name = sample.image.dataset or "nuclei"
    if name not in ("dsb2018", "dsb2018_fixes"):
        return SOURCES.get(name, to_name(name)), SOURCES.get(name, to_name(name))
    part = sample.image.metadata.get("part", "")
    if part == "stage2_test":
        return "stage_2_test", "stage_2_test"
    if part == "stage1_test" or (not part and sample.image.split == "test"):
        return "stage_1_test", "stage_1_test"
    return "stage_1_train", "stage1_train"


def _nuclei(report: ConversionReport, sample: Sample) -> Sample:
    """Keep only the nuclei, as masks: published polygons, areas and boxes are replaced by measured ones."""
    nucleus = np.array([k == "nucleus" for k in sample.instances.column("kind")], bool)
    report.add(WHOLE_CELLS, int(np.count_nonzero(~nucleus)))
    cells = sample.instances if nucleus.all() else sample.instances.take(nucleus)
    n = len(cells)
    report.add(KIND, n_given(cells.parent, None, n))
    report.add(POLYGONS, n_given(cells.polygon, None, n))
    report.add(DETAILS, max(n_given(cells.published_area, None, n), n_given(cells.published_bbox, None, n)))
    gone = {"parent": None, "polygon": None, "published_area": None, "published_bbox": None}
    return replace(sample, instances=cells.with_columns(**gone))


def _one_channel(report: ConversionReport, sample: Sample) -> Sample:
    """Reduce the sample to the channel that shows nuclei, if its channels are stains."""
    names = [c.lower() for c in sample.image.channels]
    stains = "blue" if set(names) >= {"red", "green", "blue", "yellow"} else None  # the quartets of the Protein Atlas
    at = next((k for k, n in enumerate(names) if n == stains or any(word in n for word in NUCLEAR)), None)
    if at is None or len(names) < 2 or sample.load_pixels is None:
        return sample
    report.add(ONE_CHANNEL)
    load = sample.load_pixels
    image = replace(sample.image, channels=(sample.image.channels[at],))
    return replace(sample, image=image, load_pixels=lambda: np.ascontiguousarray(load()[..., at]))


def _tile(sample: Sample, pixels: NDArray[Any] | None, window: Window, swapped: bool) -> Sample:
    """Make one tile an image of its own."""
    top, bottom, left, right = window
    image = sample.image
    place = f"{top}_{bottom}_x_{left}_{right}" if swapped else f"x{left}_{right}_y{top}_{bottom}"
    about = {"source_image": image.image_id, "tile": f"{left},{top},{right - left},{bottom - top}"}
    made = replace(
        image,
        image_id=f"{image.image_id}.{place}",
        height=bottom - top,
        width=right - left,
        metadata={**image.metadata, **about},
        leakage_group=image.leakage_group or image.image_id,
    )
    load = None if pixels is None else lambda: np.ascontiguousarray(pixels[top:bottom, left:right])
    return Sample(made, cropped(sample.instances, window), (), load)


def _shrunk(report: ConversionReport, sample: Sample) -> Sample:
    """Scale the sample to 0.4 of its size: pixels by area, masks by nearest pixel."""
    image = sample.image
    height, width = (max(1, round(n * RESIZE)) for n in image.size)
    cells = shrunk(sample.instances, (height, width))
    full = np.asarray(cells.area) > 0
    report.add(EMPTY_MASKS, int(np.count_nonzero(~full)))
    report.add(SHRUNK, int(np.count_nonzero(full)))
    report.add(PIXELS_CHANGED, int(sample.load_pixels is not None))
    made: Image = replace(
        image,
        height=height,
        width=width,
        pixel_size_um=None if image.pixel_size_um is None else image.pixel_size_um / RESIZE,
        metadata={**image.metadata, "scale": str(RESIZE)},
    )
    load = None if sample.load_pixels is None else lambda: shrunk_pixels(sample.pixels(), (height, width))
    return Sample(made, cells.take(full), (), load)


def _jpeg(pixels: NDArray[Any]) -> bytes:
    """Encode an 8-bit colour JPEG without alpha, grey repeated, like all images of the collection."""
    import imagecodecs

    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    rgb = np.repeat(rgb[..., :1], 3, axis=2) if rgb.shape[2] < 3 else rgb[..., :3]
    if rgb.dtype != np.uint8:
        rgb = (rgb.astype(np.float64) / max(float(rgb.max(initial=0)), 1.0) * 255 + 0.5).astype(np.uint8)
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(rgb), level=JPEG_QUALITY))


FORMAT = Format(
    name="nuclei-coco",
    title="COCO collection of nuclei sets",
    description=(
        "The folders and JSON files of the collection that NucleiDetectron was trained on: one folder and one JSON per "
        "source, masks as run lengths, a nuclei_class per image, local splits of stage1_train. Nuclei only; Kumar, "
        f"TNBC and Janowczyk in tiles of {TILE} px, BBBC020 and ISBI at {RESIZE} of their size. Corrected unless "
        "defects are requested. Read back by the data set nuclei_coco, each JSON also by the format coco."
    ),
    keeps=KEEPS,
    write=write,
    write_options=(
        Option(
            "defects",
            (),
            "known defects to reproduce, or all. " + "; ".join(f"{name}: {what}" for name, what in DEFECTS.items()),
            type=str,
            several=True,
            choices=("all", *DEFECTS),
        ),
        Option("as_published", False, "all defects"),
        Option("tile", TILE, "edge of a tile", low=1, unit="px"),
    ),
)
