"""Sources of cells to score, one image at a time: a store, or a file or folder of annotations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

from celltable import work
from celltable.cells import Finding, Image, Sample
from celltable.errors import InputError, NotFoundError
from celltable.imagefile import LabelStrips, open_strips
from celltable.notation.names import from_name
from celltable.plugins.format import Format, detect, readable_format
from celltable.store import Store, StoreReference, open_store

from .side import Side

T = TypeVar("T")
PANNUKE_MASKS = "masks.npy"
TIFF = (".tif", ".tiff")
LABEL_FILES = (*TIFF, ".png")
LARGE = 1 << 26  # px from which a label map is scored in strips of rows
SMALL_FILE = 1 << 16  # bytes; a smaller file cannot contain a map that large
IMAGE_COLUMNS = (
    "dataset",
    "modality",
    "image_class",
    "tissue",
    "cell_type",
    "split",
    "leakage_group",
    "count",
    "magnification",
    "pixel_size_um",
)


class Source(Protocol):
    """One side of an evaluation: images by id, and the cells of each."""

    @property
    def name(self) -> str: ...
    @property
    def ids(self) -> list[str]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def images(self) -> Mapping[str, Image]: ...
    def side(self, image_id: str, class_names: tuple[str, ...]) -> Side: ...


@dataclass(frozen=True)
class StoreSource:
    """A store; the cells of an image are read when it is scored, without decoding their masks."""

    store: Store
    where: str | None = None
    kind: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return work.opened, (StoreSourceReference(self.store.reference, self.where, self.kind),)

    @property
    def name(self) -> str:
        """The store's name."""
        return self.store.name

    @cached_property
    def images(self) -> Mapping[str, Image]:
        """The images by id, in the order of the store."""
        return {row["image_id"]: Image.from_row(row) for row in self.store.images.to_pylist()}

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the images to score."""
        if self.where is None:
            return list(self.store)
        selected = self.store.query(f"select image_id from images where {self.where}").column("image_id").to_pylist()
        if not selected:
            raise NotFoundError(f"no image of {self.store.path.name} has {self.where}")
        chosen = set(selected)
        return [i for i in self.store if i in chosen]

    @property
    def kinds(self) -> list[str]:
        """The kinds of cells in the store."""
        return list(self.store.value_counts("kind"))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes that occur, in the order of the data set, then any others."""
        present = set(self.store.value_counts("class_name"))
        listed = [c for c in self.store.description.classes if c in present]
        return (*listed, *sorted(present - set(listed)))

    def side(self, image_id: str, class_names: tuple[str, ...]) -> Side:
        """The cells of one image."""
        cells = self.store.instances_of(image_id)
        if self.kind is not None:
            cells = cells.take([k == self.kind for k in cells.column("kind")])
        return Side.from_instances(cells, class_names, all_coded=True)


@dataclass(frozen=True, slots=True)
class StoreSourceReference(work.Reference[StoreSource]):
    """How another process opens the same `StoreSource`, once for all its images."""

    store: StoreReference
    where: str | None
    kind: str | None

    def open(self) -> StoreSource:
        """Open the store in this process."""
        return StoreSource(work.opened(self.store), self.where, self.kind)


@dataclass(frozen=True)
class SampleSource:
    """Samples read from a file or folder, kept in memory."""

    name: str
    samples: Mapping[str, Sample] = field(repr=False)
    kind: str | None = None

    @property
    def images(self) -> Mapping[str, Image]:
        """The images by id."""
        return {i: s.image for i, s in self.samples.items()}

    @property
    def findings(self) -> list[Finding]:
        """The defects found while reading."""
        return [f for s in self.samples.values() for f in s.findings]

    @property
    def ids(self) -> list[str]:
        """Ids of the images."""
        return list(self.samples)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes that occur, sorted."""
        present = {c for s in self.samples.values() for c in s.instances.column("class_name") if c is not None}
        return tuple(sorted(present))

    def side(self, image_id: str, class_names: tuple[str, ...]) -> Side:
        """The cells of one image."""
        cells = self.samples[image_id].instances
        if self.kind is not None:
            cells = cells.take([k == self.kind for k in cells.column("kind")])
        return Side.from_instances(cells, class_names)


@dataclass(frozen=True)
class StripSource:
    """TIFF label maps, some of them large: only headers are read until an image is scored."""

    name: str
    maps: Mapping[str, LabelStrips] = field(repr=False)
    classes: tuple[str, ...] = ()

    @cached_property
    def images(self) -> Mapping[str, Image]:
        """The images by id."""
        return {i: Image(i, *strips.shape) for i, strips in self.maps.items()}

    @property
    def ids(self) -> list[str]:
        """Ids of the images."""
        return list(self.maps)

    def side(self, image_id: str, class_names: tuple[str, ...]) -> Side:
        """The cells of one image."""
        return Side.from_label_map(self.maps[image_id])


def strips_in(path: Path) -> StripSource | None:
    """Open a TIFF label map, or a folder of them, as strips; None if none is large or one is not a label map."""
    inside = [path] if path.is_file() else sorted(path.rglob("*"))
    files = [f for f in inside if f.suffix.lower() in TIFF and f.is_file()]
    if not files or max(f.stat().st_size for f in files) < SMALL_FILE:
        return None
    maps = {from_name(f.stem): open_strips(f) for f in files}
    known = {i: m for i, m in maps.items() if m is not None}
    large = any(m.shape[0] * m.shape[1] >= LARGE for m in known.values())
    return StripSource(path.name, known) if large and len(known) == len(files) else None


def source_of(
    given: Any,
    *,
    images: Mapping[str, Image] | None = None,
    where: str | None = None,
    kind: str | None = None,
    form: str | None = None,
) -> Source:
    """Open a store, its path, or the path of annotations in any readable format.

    Parameters
    ----------
    given
        A Store or a path.
    images
        Known images, for formats without image sizes or ids (COCO results need them).
    where
        SQL condition on the images of a store.
    kind
        "nucleus" or "cell": only those.
    form
        Name of the path's format; None to recognise it from the content.

    Raises
    ------
    InputError
        If no format recognises the path.
    """
    if isinstance(given, Store):
        return StoreSource(given, where, kind)
    if not isinstance(given, str | os.PathLike):
        raise InputError(
            f"found {type(given).__name__}; expected a store, a path, a label map, or a list of them, one per image"
        )
    path = Path(given)
    if form is None and (path / "dataset.json").exists():
        return StoreSource(open_store(path), where, kind)
    if not path.exists():
        raise NotFoundError(f"{path} does not exist; expected a store, a file of annotations or a folder of label maps")
    if form is None and path.suffix == ".npy" and path.name != PANNUKE_MASKS:
        raise InputError(
            f"{path.name}: found an array that names no images; expected another .npy on the other side, or PanNuke's "
            f"{PANNUKE_MASKS}"
        )
    return _read(path, readable_format(form) if form else detect(path), images, kind)


def _read(path: Path, form: Format, images: Mapping[str, Image] | None, kind: str | None) -> Source:
    """Read a path in the given format."""
    streamed = strips_in(path) if form.name == "label-tiff" and kind in (None, "nucleus") else None
    if streamed is not None:
        return replace(streamed, maps=_alone(streamed.maps, path, images))
    if images and form.name == "coco" and _is_empty_list(path):
        return SampleSource(path.name, {}, kind)
    samples: dict[str, Sample] = {}
    assert form.read is not None
    for sample in form.read(path, images or {}):
        if sample.image.image_id in samples:
            raise InputError(f"{path.name} ({form.name}): image {sample.image.image_id!r} occurs more than once")
        samples[sample.image.image_id] = sample
    if not samples:
        raise InputError(f"{path.name} ({form.name}) contains no images")
    return SampleSource(path.name, _alone(samples, path, images), kind)


def _is_empty_list(path: Path) -> bool:
    """Return whether COCO results are an empty list, from a model that found nothing anywhere."""
    return path.is_file() and path.stat().st_size < SMALL_FILE and b"".join(path.read_bytes().split()) == b"[]"


def _alone(by_id: Mapping[str, T], path: Path, images: Mapping[str, Image] | None) -> Mapping[str, T]:
    """Give a single label map the id of the single image it is scored against: their file names may differ."""
    if len(by_id) == 1 and images is not None and len(images) == 1 and path.suffix.lower() in LABEL_FILES:
        return {next(iter(images)): value for value in by_id.values()}
    return by_id


def meta_of(image: Image) -> dict[str, Any]:
    """Return the columns of an image by which scores can be broken down."""
    meta = {name: getattr(image, name) for name in IMAGE_COLUMNS}
    meta.update(image.metadata)
    if "fold" not in meta:
        group = next((v for v in (image.split, image.leakage_group) if v and "fold" in v.lower()), None)
        meta["fold"] = group
    return {k: v for k, v in meta.items() if v is not None}


def classes_of(*sources: Source) -> tuple[str, ...]:
    """List the classes of all sources, each once, those of the first source first."""
    return tuple(dict.fromkeys(c for s in sources for c in s.classes))


def empty_side(image: Image, class_names: Iterable[str]) -> Side:
    """Make a side without cells."""
    import numpy as np

    codes = np.zeros(0, np.int64)
    return Side.from_rle([], image.size, class_codes=codes, class_names=tuple(class_names), scores=np.zeros(0))
