"""Cut images into overlapping tiles, each an image of a new store, and reassemble tiles into whole images."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from celltable import tiling, work
from celltable.cells import Finding, Image, Pixels, Sample
from celltable.errors import CelltableError, InputError, NotFoundError
from celltable.store import Description, Source, Store, StoreWriter, as_store, derive, refuse_occupied, sources_beside
from celltable.tiling import Tile
from celltable.version import VERSION

from ._tile_files import FORMS, written

# Metadata keys of a tile: the image it was cut from, its position there, that image's size and number of tiles.
PARENT: Final = "tile_of"
PLACE: Final = ("tile_row", "tile_col", "tile_of_height", "tile_of_width", "tile_of_tiles")
INCOMPLETE: Final = "missing-tiles"
OWN: Final = "images"  # source key of the store of whole images, if it holds copies of the pixels


@dataclass(frozen=True, slots=True)
class _Plan:
    size: int | tuple[int, int]
    overlap: int
    min_pixels: int
    form: str

    def tiles(self, image: Image) -> list[Tile]:
        return tiling.grid(image.size, self.size, self.overlap)


def tile(
    store: Store | str | Path,
    out: str | Path,
    *,
    size: int | tuple[int, int] = 512,
    overlap: int = 64,
    min_pixels: int = 1,
    form: str = "auto",
    where: str | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    how: work.How = "threads",
    scheduler: str | None = None,
    progress: bool = False,
) -> Store:
    """Cut every image of a store into overlapping tiles of one size, each an image ``<image>@r000000_c000000``.

    Pixels are written into the new store, one file per tile, with bit depth and channels unchanged. Cells cut by a
    tile's border are marked ``truncated``. A tile belongs to its image's leakage group (or, if it has none, to a group
    of that image), so that no split can separate tiles of one image. Image-level labels and counts are left out, as
    they describe the whole image.

    Parameters
    ----------
    store
        A store or its path.
    out
        Folder of the store of tiles to write. An interrupted run is resumed.
    size
        Edge of a tile in px, or (height, width). An image smaller than a tile stays as it is, as one tile.
    overlap
        Pixels that neighbouring tiles share at least; if more than the diameter of the largest cell, every cell is
        whole in some tile, which `stitch` can then use.
    min_pixels
        Fragments of cells with fewer pixels in a tile are left out.
    form
        Format of the pixel files: ``png``, ``tif``, ``npy``, or ``auto`` (png if it can hold the pixels, else npy).
    where
        SQL condition on the images table, for example ``split = 'test'``.
    overwrite
        Replace a store at `out`.
    workers, how, scheduler
        Number of workers (None: one per core) and where they run, see `celltable.work.Runner`; the result is the same,
        byte for byte.
    progress
        Draw a progress bar on a terminal.

    Raises
    ------
    CelltableError, StoreError
        If the tile size and overlap are impossible, the store already holds tiles, or `out` cannot be written. An image
        that cannot be read becomes a finding; its tiles have no pixels.
    """
    from .convert import selected

    runner = work.Runner(workers, how, scheduler)
    ds = as_store(store)
    plan = _Plan(size, overlap, min_pixels, form)
    _check(ds, plan)
    target = Path(out)
    refuse_occupied(target, overwrite, [ds])
    images = [ds.image(i) for i in selected(ds, where)]
    request = {"tile": ds.name, "of": _state(ds), "plan": str(plan), "where": where, "celltable": VERSION}
    with StoreWriter(target, request, overwrite=overwrite) as writer:
        rest, skip = _rest(images, plan, writer.done)
        run = partial(_cut_image, ds, plan, writer.extra.resolve() / "pixels")
        for samples in runner.map(run, rest, progress="cutting tiles" if progress else None):
            for sample in samples[skip:]:
                writer.append(sample)
            skip = 0
        return writer.finish(_tiles_info(ds, plan, target))


def _check(ds: Store, plan: _Plan) -> None:
    tiling.grid((1, 1), plan.size, plan.overlap)
    if plan.form not in FORMS:
        raise CelltableError(f"the form of the pixel files is '{plan.form}'; expected one of {', '.join(FORMS)}.")
    if plan.min_pixels < 1:
        raise CelltableError(f"min_pixels is {plan.min_pixels}; expected 1 or more.")
    if any(PARENT in dict(m or ()) for m in ds.images.column("metadata").to_pylist()):
        raise CelltableError(f"{ds.path.name} already holds tiles; tile the store that they were cut from.")


def _state(ds: Store) -> list[str]:
    """Identify the images and cells of a store."""
    return [str(ds.path.resolve()), ds.content]


def _rest(images: list[Image], plan: _Plan, done: int) -> tuple[list[Image], int]:
    """Return the images whose tiles are not all written yet, and how many of the first image's are."""
    for k, image in enumerate(images):
        n = len(plan.tiles(image))
        if done < n:
            return images[k:], done
        done -= n
    return [], 0


def _cut_image(ds: Store, plan: _Plan, folder: Path, image: Image) -> list[Sample]:
    cells = ds.instances_of(image.image_id)
    pixels, trouble = _read(ds, image)
    tiles = plan.tiles(image)
    samples: list[Sample] = []
    for where in tiles:
        record = _tile_record(image, where, len(tiles), trouble is None)
        if pixels is not None:
            window = pixels[where.row : where.row + where.height, where.col : where.col + where.width]
            file = written(window, folder / _folder_name(image.image_id), where.name, plan.form, folder.parent.parent)
            record = replace(record, pixels=(Pixels("", f"pixels/{file.relative_to(folder).as_posix()}"),))
        found = () if trouble is None or samples else (Finding("unreadable-image", trouble, "error", record.image_id),)
        samples.append(Sample(record, tiling.cut(cells, where, min_pixels=plan.min_pixels), found))
    return samples


def _read(ds: Store, image: Image) -> tuple[NDArray[Any] | None, str | None]:
    """Load the pixels of an image, or say why they cannot be loaded."""
    try:
        pixels = ds.pixels_of(image)
    except (InputError, NotFoundError) as exc:
        return None, f"{image.image_id}: {exc}"
    if pixels.shape[:2] != image.size:
        found = " × ".join(map(str, pixels.shape[:2]))
        return None, f"{image.image_id}: the image file has {found} px, expected {image.height} × {image.width}"
    return pixels, None


def _tile_record(image: Image, where: Tile, n: int, readable: bool) -> Image:
    numbers = map(str, (where.row, where.col, image.height, image.width, n))
    group = image.leakage_group
    return replace(
        image, image_id=f"{image.image_id}@{where.name}", height=where.height, width=where.width, pixels=(),
        leakage_group=group if group is not None else image.image_id,
        group_source=image.group_source if group is not None else "derived",
        labels=None, count=None, ignore=image.ignore or not readable,
        metadata={**image.metadata, PARENT: image.image_id, **dict(zip(PLACE, numbers, strict=True))},
    )  # fmt: skip


def _folder_name(image_id: str) -> str:
    """Name the folder for the tiles of an image: readable, valid on every file system, and unique."""
    import hashlib

    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", image_id).strip("._")[:80]
    return plain if plain == image_id else f"{plain}_{hashlib.sha256(image_id.encode()).hexdigest()[:12]}"


def _tiles_info(ds: Store, plan: _Plan, out: Path) -> Description:
    size = plan.size if isinstance(plan.size, int) else list(plan.size)
    height, width = (size, size) if isinstance(size, int) else size
    done = f"tile: {height} × {width} px, overlap {plan.overlap}, of {ds.name}"
    if len(ds.edits):
        done += f"; the {len(ds.edits):,} edits remain in {ds.path.name}, where they can be undone"
    tiles = {"size": size, "overlap": plan.overlap, "min_pixels": plan.min_pixels, "of": str(ds.path.resolve())}
    return derive(ds, out, done=done, tiles=tiles)


def stitch(
    tiles: Store | str | Path,
    out: str | Path,
    *,
    images: Store | str | Path | None = None,
    match: float = tiling.MATCH,
    overwrite: bool = False,
    workers: int | None = None,
    progress: bool = False,
) -> Store:
    """Reassemble the cells of tiles into whole images: each cell once, without seams, its score kept.

    Parameters
    ----------
    tiles
        A store made by `tile`, or predictions on it (or a repaired or edited copy of either).
    out
        Folder of the store to write, with one row for each of the images that the tiles were cut from.
    images
        The store of the whole images: their records (pixel locations, groups, labels) are taken from it. Without it,
        they hold what the tiles say about them, without pixels.
    match
        Overlap above which two cells of neighbouring tiles become one; see `celltable.tiling.stitch`.
    overwrite, workers, progress
        Replace a store at `out`; number of threads (None: one per core), which does not change the result; draw a
        progress bar.

    Raises
    ------
    CelltableError, StoreError
        If the store does not hold tiles, or they do not match the images. Missing tiles become a finding on their
        image, which is then marked as not exhaustive.
    """
    ds = as_store(tiles)
    base = None if images is None else as_store(images)
    target = Path(out)
    refuse_occupied(target, overwrite, [ds, *([] if base is None else [base])])
    if not 0 <= match < 1:
        raise CelltableError(f"match is {match:g}; expected a share of pixels, at least 0 and less than 1.")
    parents = _parents(ds)
    request = {"stitch": _state(ds), "images": base and _state(base), "match": match, "celltable": VERSION}
    with StoreWriter(target, request, overwrite=overwrite) as writer:
        run = partial(_stitch_image, ds, base, match)
        rest = parents[writer.done :]
        for sample in work.map(run, rest, workers=workers, progress="stitching" if progress else None):
            writer.append(sample)
        return writer.finish(_stitched_info(ds, base, target))


def _parents(ds: Store) -> list[tuple[str, list[Image]]]:
    """Group the tiles by whole image, in reading order."""
    records = [Image.from_row(row) for row in ds.images.arrow.to_pylist()]
    strangers = [r.image_id for r in records if PARENT not in r.metadata]
    if strangers:
        raise CelltableError(
            f"{ds.path.name}: {len(strangers):,} of {len(records):,} images are not tiles, the first '{strangers[0]}'; "
            "expected a store made by tile, or predictions on one."
        )
    records.sort(key=lambda r: (r.metadata[PARENT], *_place(r)[:2]))
    return [(name, list(group)) for name, group in groupby(records, key=lambda r: r.metadata[PARENT])]


def _place(record: Image) -> tuple[int, ...]:
    """Return a tile's row and column, and the height, width and number of tiles of the whole image."""
    try:
        row, col, height, width, n = (int(record.metadata[key]) for key in PLACE)
    except (KeyError, ValueError):
        raise InputError(
            f"the tile {record.image_id} does not state its position; expected the metadata keys {', '.join(PLACE)}, "
            "as tile writes them."
        ) from None
    return row, col, height, width, n


def _where(record: Image) -> Tile:
    row, col = _place(record)[:2]
    return Tile(row, col, record.height, record.width)


def _stitch_image(ds: Store, base: Store | None, match: float, parent: tuple[str, list[Image]]) -> Sample:
    name, records = parent
    image = _whole(base, name, records[0])
    good = [r for r in records if r.annotated]
    places = [(r, _where(r)) for r in good]
    cells = tiling.stitch(((where, ds.instances_of(r.image_id)) for r, where in places), image.size, match=match)
    expected = _place(records[0])[4]
    missing = expected - len(good)
    if not missing or (not good and len(records) == expected):
        return Sample(replace(image, annotated=bool(good)), cells)
    text = f"{missing:,} of {expected:,} tiles are missing or without annotation; cells there are unknown"
    found = (Finding(INCOMPLETE, text, "warning", name, value=float(missing)),)
    return Sample(replace(image, annotated=bool(good), exhaustive=False), cells, found)


def _whole(base: Store | None, name: str, record: Image) -> Image:
    """Return the record of a whole image from the store of whole images, or else built from its tiles."""
    height, width = _place(record)[2:4]
    if base is not None:
        image = base.image(name)
        if image.size != (height, width):
            raise InputError(
                f"the image {name} of {base.path.name} has {image.height} × {image.width} px; "
                f"its tiles were cut from one of {height} × {width} px."
            )
        pixels = tuple(replace(p, source=p.source or OWN) for p in image.pixels)
        return replace(image, pixels=pixels, exhaustive=record.exhaustive)
    derived = record.group_source == "derived" and record.leakage_group == name
    return replace(
        record, image_id=name, height=height, width=width, pixels=(),
        leakage_group=None if derived else record.leakage_group,
        group_source=None if derived else record.group_source,
        metadata={k: v for k, v in record.metadata.items() if k != PARENT and k not in PLACE},
    )  # fmt: skip


def _stitched_info(ds: Store, base: Store | None, out: Path) -> Description:
    sources = {} if base is None else {**sources_beside(base, out), OWN: Source.at(base.path, out)}
    return derive(ds, out, done=f"stitched from {ds.path.name}", sources=sources, tiles={})
