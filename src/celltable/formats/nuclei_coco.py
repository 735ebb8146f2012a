"""The hierarchy of the COCO collection of nuclei sets: one folder and one JSON a source, large images tiled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.errors import InputError
from celltable.geometry import rle
from celltable.records import Instances, Sample

from . import Format, Loss
from ._coco_write import CocoWriter
from ._loss import EMPTY_MASKS, PIXELS_CHANGED, drop_empty, tally
from ._nuclei_class import nuclei_class
from ._out import new_folder, to_name
from ._pixels import encode, write_bytes

KEEPS: Final = frozenset(
    {
        *("overlap", "holes", "components", "ids", "scores", "crowd", "kind", "exact-mask", "polygons", "image-size"),
        *("empty-images", "pixels", "details", "image-details"),
    }
)
TILE: Final = 512
RESIZE: Final = 0.4
TILED: Final = frozenset({"kumar", "monuseg", "tnbc", "janowczyk"})
RESIZED: Final = frozenset({"bbbc020", "isbi2009"})
MIN_CELLS: Final = 3  # the collection drops tiles with fewer
MIN_AREA_PX: Final = 5  # and smaller masks
SOURCES: Final = {  # data set → folder of images and name of the JSON
    "cluster_nuclei": ("cluster_nuclei", "cluster_nuclei"),
    "bbbc006": ("BBBC006", "BBBC006"),
    "bbbc007": ("BBBC007", "BBBC007"),
    "bbbc018": ("BBBC018", "BBBC018"),
    "bbbc020": ("BBBC020", "BBBC020"),
    "kumar": ("nucleisegmentationbenchmark", "nucleisegmentationbenchmark"),
    "isbi2009": ("2009_ISBI_2DNuclei", "2009_ISBI_2DNuclei"),
    "janowczyk": ("nuclei_partial_annotations", "nuclei_partial_annotations"),
    "tnbc": ("TNBC_NucleiSegmentation", "TNBC_NucleiSegmentation"),
}
DEFECTS: Final = {
    "jpeg": "images are stored as JPEG",
    "zero-ids": "annotation ids begin at 0, which stock evaluation never matches",
    "swapped-axes": "tile names give the rows first, as if they were columns",
    "ragged-tiles": "the rest of an image narrower than a tile is a smaller tile, and tiles start at multiples of 512",
    "sparse-tiles": f"tiles with fewer than {MIN_CELLS} nuclei are left out",
    "tiny-masks": f"masks under {MIN_AREA_PX} px are left out",
    "unflagged-partial": "partial annotation is not marked",
    "unlabelled-as-empty": "images without annotation are not marked as such",
}


@dataclass(slots=True)
class _Export:
    """An export in the making: the open JSON of each source."""

    folder: Path
    stack: ExitStack
    defects: frozenset[str]
    loss: Loss
    tile: int
    writers: dict[str, CocoWriter] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        key = sample.image.dataset
        pieces = (
            list(self._tiles(sample)) if key in TILED else [_shrunk(sample, self.loss) if key in RESIZED else sample]
        )
        for piece in pieces:
            self._write(piece, *_place(sample))

    def _write(self, sample: Sample, folder: str, name: str) -> None:
        sample = self._flagged(sample)
        tally(self.loss, sample, KEEPS)
        file_name = self._picture(sample, folder)
        kind = sample.image.metadata.get("nuclei_class") or nuclei_class(sample)
        cells = sample.instances.with_columns(class_name=None, class_names=None, class_scores=None)
        sample = replace(sample, instances=cells)
        self._writer(name).add(sample, file_name, nuclei_class=kind)
        if name == "stage1_train":
            part = "val" if kind.startswith("purple_") else "train"
            self._writer(f"stage_1_local_{part}_split").add(sample, file_name, nuclei_class=kind)

    def _flagged(self, sample: Sample) -> Sample:
        image = sample.image
        if "unflagged-partial" in self.defects:
            image = replace(image, exhaustive=True)
        if "unlabelled-as-empty" in self.defects:
            image = replace(image, annotated=True)
        return replace(sample, image=image)

    def _picture(self, sample: Sample, folder: str) -> str:
        name = to_name(sample.image.image_id)
        if sample.load_pixels is None:
            return f"{name}.png"
        pixels = sample.pixels()
        if "jpeg" in self.defects:
            data, ending = _jpeg(pixels), ".jpg"
            self.loss.add(PIXELS_CHANGED)
        else:
            data, ending = encode(pixels)
        write_bytes(self.folder / folder / f"{name}{ending}", data)
        self.loss.written["files"] += 1
        return f"{name}{ending}"

    def _writer(self, name: str) -> CocoWriter:
        if name not in self.writers:
            place = self.folder / "annotations"
            place.mkdir(exist_ok=True)
            zero = "zero-ids" in self.defects
            writer = CocoWriter(place / f"{name}.json", ids="new", first=0 if zero else 1)
            writer.categories["nucleus"] = 1
            writer.category_kinds["nucleus"] = "nucleus"
            writer.head["categories"].append({"supercategory": "nucleus", "id": 1, "name": "nucleus"})
            self.writers[name] = self.stack.enter_context(writer)
        return self.writers[name]

    def _tiles(self, sample: Sample) -> Iterator[Sample]:
        height, width = sample.image.size
        ragged = "ragged-tiles" in self.defects
        pixels = None if sample.load_pixels is None else sample.pixels()
        for top, bottom in spans(height, self.tile, ragged):
            for left, right in spans(width, self.tile, ragged):
                tile = self._tile(sample, pixels, top, bottom, left, right)
                few = "sparse-tiles" in self.defects and len(tile.instances) < MIN_CELLS
                if not few:
                    yield tile

    def _tile(
        self, sample: Sample, pixels: NDArray[Any] | None, top: int, bottom: int, left: int, right: int
    ) -> Sample:
        size = bottom - top, right - left
        columns = f"{left}_{right}", f"{top}_{bottom}"
        first, second = columns[::-1] if "swapped-axes" in self.defects else columns
        name = f"{sample.image.image_id}:{first}_x_{second}"
        cells = _cropped(sample.instances, top, left, size)
        if "tiny-masks" in self.defects:
            cells = cells.take(np.asarray(cells.area) >= MIN_AREA_PX)
        about = {
            **sample.image.metadata,
            "source_image": sample.image.image_id,
            "tile": f"{left},{top},{size[1]},{size[0]}",
        }
        group = sample.image.leakage_group or sample.image.image_id
        image = replace(sample.image, image_id=name, height=size[0], width=size[1], metadata=about, leakage_group=group)
        load = None if pixels is None else lambda: np.ascontiguousarray(pixels[top:bottom, left:right])
        return Sample(image, cells, (), load)


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    defects: Sequence[str] | str = (),
    tile: int = TILE,
    overwrite: bool = False,
) -> Loss:
    """Write ``<source>/<image>.png`` and ``annotations/<source>.json``, with local splits for stage1_train.

    Kumar, TNBC and Janowczyk are cut into tiles of `tile` pixels, named ``<image>:<x1>_<x2>_x_<y1>_<y2>``, that cover
    the image whole (the last ones reach back so that all are of one size); BBBC020 and ISBI are shrunk to 0.4.
    Cells cut by a tile's border are marked as truncated.

    Parameters
    ----------
    defects
        Known defects of the published collection to reproduce, or ``all``; see DEFECTS.
    """
    defects = [d.strip() for d in defects.split(",")] if isinstance(defects, str) else defects
    chosen = frozenset(DEFECTS) if "all" in defects else frozenset(defects)
    if chosen - set(DEFECTS):
        raise InputError(
            f"There is no defect {', '.join(sorted(chosen - set(DEFECTS)))}. There are: {', '.join(DEFECTS)}."
        )
    loss = Loss()
    with new_folder(out, overwrite) as folder:
        with ExitStack() as stack:
            export = _Export(folder, stack, chosen, loss, tile)
            for sample in samples:
                export.add(drop_empty(loss, sample))
        loss.written["files"] += len(export.writers)
    return loss


def _place(sample: Sample) -> tuple[str, str]:
    """The folder of the images and the name of the JSON."""
    name = sample.image.dataset or "nuclei"
    if name not in ("dsb2018", "dsb2018_fixes"):
        return SOURCES.get(name, (to_name(name), to_name(name)))
    part = sample.image.metadata.get("part", "")
    if part == "stage2_test":
        return "stage_2_test", "stage_2_test"
    if part == "stage1_test" or (not part and sample.image.split == "test"):
        return "stage_1_test", "stage_1_test"
    return "stage_1_train", "stage1_train"


def spans(length: int, tile: int, ragged: bool = False) -> list[tuple[int, int]]:
    """Where tiles begin and end along an axis: all `tile` long, the last reaching back; or ragged, as published.

    >>> spans(1000, 512), spans(1000, 512, ragged=True), spans(300, 512)
    ([(0, 512), (488, 1000)], [(0, 512), (512, 1000)], [(0, 300)])
    """
    starts = range(0, max(length, 1), tile)
    if ragged or length <= tile:
        return [(s, min(s + tile, length)) for s in starts]
    return [(min(s, length - tile), min(s, length - tile) + tile) for s in starts]


def _cropped(cells: Instances, top: int, left: int, size: tuple[int, int]) -> Instances:
    """The cells inside a window, their ids kept; those that lost pixels are marked as truncated."""
    boxes = np.asarray(cells.bbox).reshape(-1, 4)
    inside = (boxes[:, 0] < left + size[1]) & (boxes[:, 0] + boxes[:, 2] > left)
    inside &= (boxes[:, 1] < top + size[0]) & (boxes[:, 1] + boxes[:, 3] > top)
    picked = np.flatnonzero(inside)
    box = (left, top, size[1], size[0])
    masks = rle.crop([cells.rle[k] for k in picked.tolist()], cells.size, box)
    areas = rle.areas(masks, size)
    full = np.asarray(cells.area)[picked]
    left_over = cells.take(picked)
    cut = [
        bool(t or a < f) for t, a, f in zip(left_over.column("truncated"), areas.tolist(), full.tolist(), strict=True)
    ]
    columns: dict[str, Any] = {"truncated": cut, "polygon": None, "published_area": None, "published_bbox": None}
    found = replace(left_over, size=size, rle=masks, area=areas, bbox=rle.boxes(masks, size), **columns)
    return found.take(areas > 0)


def _shrunk(sample: Sample, loss: Loss) -> Sample:
    """The sample at 0.4 of its size: pixels by area, masks by nearest pixel."""
    from PIL import Image as Pillow

    height, width = (max(1, round(n * RESIZE)) for n in sample.image.size)
    rows = np.minimum((np.arange(height) + 0.5) / RESIZE, sample.image.height - 1).astype(int)
    columns = np.minimum((np.arange(width) + 0.5) / RESIZE, sample.image.width - 1).astype(int)
    cells = sample.instances
    masks = [rle.encode(np.ascontiguousarray(m[np.ix_(rows, columns)])) for m in cells.masks()]
    size = height, width
    areas = rle.areas(masks, size)
    dropped: dict[str, Any] = {"polygon": None, "published_area": None, "published_bbox": None}
    found = replace(cells, size=size, rle=masks, area=areas, bbox=rle.boxes(masks, size), **dropped)
    loss.add(EMPTY_MASKS, int(np.count_nonzero(areas == 0)))
    image = replace(sample.image, height=height, width=width, metadata={**sample.image.metadata, "scale": str(RESIZE)})
    if image.pixel_size_um:
        image = replace(image, pixel_size_um=image.pixel_size_um / RESIZE)

    def load() -> NDArray[Any]:
        pixels = sample.pixels()
        planes = pixels[..., None] if pixels.ndim == 2 else pixels
        resized = [
            np.asarray(
                Pillow.fromarray(planes[..., k].astype(np.float32)).resize((width, height), Pillow.Resampling.BOX)
            )
            for k in range(planes.shape[2])
        ]
        joined = np.rint(np.stack(resized, axis=-1)).astype(pixels.dtype)
        flat: NDArray[Any] = joined[..., 0] if pixels.ndim == 2 else joined
        return flat

    loss.add(PIXELS_CHANGED, int(sample.load_pixels is not None))
    return Sample(image, found.take(areas > 0), (), None if sample.load_pixels is None else load)


def _jpeg(pixels: NDArray[Any]) -> bytes:
    """8-bit colour JPEG without alpha, grey repeated, as the collection stores every image."""
    import imagecodecs

    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    rgb = np.repeat(rgb[..., :1], 3, axis=2) if rgb.shape[2] < 3 else rgb[..., :3]
    if rgb.dtype != np.uint8:
        rgb = (rgb.astype(np.float64) / max(float(rgb.max(initial=0)), 1.0) * 255 + 0.5).astype(np.uint8)
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(rgb), level=95))


FORMAT = Format(
    name="nuclei-coco",
    title="COCO collection of nuclei sets",
    description=(
        "The folder hierarchy and JSONs of the collection that NucleiDetectron was trained on: one folder and one JSON "
        "a source, masks as run lengths, nuclei_class an image, local splits of stage1_train. Corrected unless defects "
        "are asked for. Each JSON is read back by the format coco."
    ),
    keeps=KEEPS,
    write=write,
    options={
        "defects": "known defects to reproduce, or all: " + ", ".join(DEFECTS),
        "tile": "edge of a tile (512)",
        "overwrite": "replace an existing folder",
    },
)
