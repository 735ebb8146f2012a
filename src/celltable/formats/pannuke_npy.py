"""The array layout of PanNuke: one .npy of images, one of masks with a channel per class, one of tissue names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Pixels, Sample
from celltable.errors import InputError
from celltable.geometry import label_map
from celltable.notation.pannuke import BACKGROUND, CLASS_NAMES, cells_of_channels
from celltable.plugins.format import About, ConversionReport, Format, Limits, Reading, Recognition, Strength
from celltable.plugins.losses import (
    CLASSES,
    COVERED,
    GIVEN_CLASS,
    GIVEN_PIXELS,
    HIDDEN,
    PIXELS_CHANGED,
    POLICY,
    drop_empty,
    tally,
    visible,
)
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek

from ._files import Files, open_files
from ._out import new_folder

KEEPS: Final = frozenset(
    {"holes", "components", "ids", "classes", "exact-mask", "image-size", "empty-images", "pixels"}
)
_MASKS = re.compile(r"(?:^|.*/)masks\.npy$")


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    fold: int = 1,
    default_class: str = "Neoplastic",
    policy: str = "last-wins",
    overwrite: bool = False,
) -> ConversionReport:
    """Write ``Fold k/images/foldk/{images,types,ids}.npy`` and ``Fold k/masks/foldk/masks.npy``, float64 as published.

    Cells of one class must not overlap (`policy` decides), cells of different classes may. `default_class` is the
    channel for cells with none of the five classes. ``ids.npy`` holds the image ids, in addition to the published
    layout.
    """
    report, size = ConversionReport(), None
    ids: list[str] = []
    tissues: list[str] = []
    with new_folder(out, overwrite) as folder:
        images, masks = (folder / f"Fold {fold}" / kind / f"fold{fold}" for kind in ("images", "masks"))
        images.mkdir(parents=True)
        masks.mkdir(parents=True)
        with (images / "images.npy").open("wb") as pixel_file, (masks / "masks.npy").open("wb") as mask_file:
            for sample in samples:
                size = _same_size(sample.image, size)
                planes = _planes(report, sample, default_class, policy)
                if not ids:
                    _header(pixel_file, (0, *size, 3))
                    _header(mask_file, (0, *size, BACKGROUND + 1))
                pixel_file.write(_rgb(report, sample).astype("<f8").data)
                mask_file.write(planes.data)
                ids.append(sample.image.image_id)
                tissues.append(sample.image.tissue or "")
            _header(pixel_file, (len(ids), *(size or (256, 256)), 3))
            _header(mask_file, (len(ids), *(size or (256, 256)), BACKGROUND + 1))
        np.save(images / "types.npy", np.array(tissues, dtype=np.str_), allow_pickle=False)
        np.save(images / "ids.npy", np.array(ids, dtype=np.str_), allow_pickle=False)
    report.written["files"] = 4
    return report


def _same_size(image: Image, size: tuple[int, int] | None) -> tuple[int, int]:
    if size is not None and image.size != size:
        raise InputError(
            f"image {image.image_id} is {image.height} × {image.width}, earlier ones {size[0]} × {size[1]}: one array "
            "holds images of one size. Cut them into tiles first (celltable tile)."
        )
    return image.size


def _header(stream: IO[bytes], shape: tuple[int, ...]) -> None:
    """Write or rewrite the header of an .npy; NumPy leaves room for the first axis to grow."""
    stream.seek(0)
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})


def _rgb(report: ConversionReport, sample: Sample) -> NDArray[Any]:
    if sample.load_pixels is None:
        report.add(GIVEN_PIXELS)
        return np.zeros((*sample.image.size, 3))
    pixels = sample.pixels()
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        return pixels
    report.add(PIXELS_CHANGED)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] in (1, 2):
        return np.repeat(pixels[..., :1], 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3])


def _planes(report: ConversionReport, sample: Sample, default_class: str, policy: str) -> NDArray[np.float64]:
    """Draw the six mask channels of one image: instance ids by class, then background."""
    sample = drop_empty(report, sample)
    cells = sample.instances
    names = cells.column("class_name")
    channels = np.array([CLASS_NAMES.index(n if n in CLASS_NAMES else default_class) for n in names], np.intp)
    planes = np.zeros((*sample.image.size, BACKGROUND + 1))
    hidden: list[int] = []
    for channel in np.unique(channels).tolist():
        of_class = cells.take(np.flatnonzero(channels == channel))
        flat = of_class.label_map(policy)
        planes[..., channel] = flat.label_map
        report.add(HIDDEN, int(flat.lost_pixels))
        hidden.extend(of_class.ids[~visible(flat, of_class)].tolist())
    planes[..., BACKGROUND] = ~planes[..., :BACKGROUND].any(axis=2)
    left = ~np.isin(cells.ids, hidden)
    report.add(COVERED, len(hidden))
    report.add(GIVEN_CLASS, sum(n is None and bool(k) for n, k in zip(names, left, strict=True)))
    report.add(
        CLASSES, sum(n is not None and n not in CLASS_NAMES and bool(k) for n, k in zip(names, left, strict=True))
    )
    tally(report, replace(sample, instances=cells.take(left)), KEEPS, ("tissue",))
    return planes


def read(path: Path, images: Mapping[str, Image] | None = None) -> Reading:
    """Read the folds of a folder or zip by memory map, one patch at a time; refuse pickled arrays.

    An instance is one value in one of the channels 0 to 4. The value is its id if values are distinct across channels;
    otherwise cells are numbered by channel and value.
    """
    path = Path(path)
    alone = path.is_file() and path.name == "masks.npy"
    with open_files(path.parent if alone else path) as files:
        found = ["masks.npy"] if alone else [m for m in files.names if _MASKS.match(m)]
        files.expect(found, "masks.npy (Fold k/masks/foldk/masks.npy)")
        for member in found:
            yield from _fold(files, member, images or {})
    return About(classes=CLASS_NAMES)


def _fold(files: Files, member: str, known: Mapping[str, Image]) -> Iterator[Sample]:
    masks = files.array(member)
    if masks.ndim != 4 or masks.shape[3] != BACKGROUND + 1:
        raise InputError(f"{member} has the shape {masks.shape}; expected (patches, rows, columns, 6)")
    beside = {name: _beside(files, member, name) for name in ("images", "types", "ids")}
    arrays = {name: files.array(found) for name, found in beside.items() if found}
    for name, array in arrays.items():
        if len(array) != len(masks):
            raise InputError(f"{beside[name]} has {len(array):,} entries, {member} {len(masks):,}; expected as many")
    fold = member.split("/")[-2] if "/" in member else "fold"
    for row in range(len(masks)):
        image_id = str(arrays["ids"][row]) if "ids" in arrays else f"{fold}_{row:05d}"
        image = Image(image_id, int(masks.shape[1]), int(masks.shape[2]), tissue=_tissue(arrays, row))
        pictures, load = beside["images"], None
        if pictures:
            image = replace(image, pixels=(Pixels(files.where(pictures).source, pictures, row),))
            load = files.load_row(pictures, row)
        findings: list[Finding] = []
        cells = _cells(np.asarray(masks[row]), image_id, findings)
        yield Sample(known.get(image_id, image), cells, tuple(findings), load)


def _beside(files: Files, member: str, name: str) -> str | None:
    """Find the array of that name for a masks.npy: in the images folder of the same fold, or beside it."""
    folder = member.rpartition("/")[0]
    places = (folder.replace("masks", "images"), folder)
    paths = [f"{place}/{name}.npy".lstrip("/") for place in places]
    return next((p for p in paths if p in files.entries), None)


def _tissue(arrays: Mapping[str, NDArray[Any]], row: int) -> str | None:
    return str(arrays["types"][row]) or None if "types" in arrays else None


def _cells(masks: NDArray[Any], image_id: str, findings: list[Finding]) -> Instances:
    """Read the cells of one patch (rows, columns, 6); a channel with anything but ids is left out entirely."""
    found = label_map.layers(masks, len(CLASS_NAMES))
    odd = np.flatnonzero(found.strange[: len(CLASS_NAMES)])
    for channel in odd.tolist():
        message = f"channel {channel} holds values that are not ids (negative, or not whole)"
        findings.append(Finding("mask-values", message, "error", image_id))
    if not found.strange.any() and found.unclaimed == found.flat.size:
        findings.append(Finding("void-patch", "all six channels are zero", "warning", image_id))
    kept = ~np.isin(found.layer, odd)
    cells, values = cells_of_channels(found).take(kept), found.value[kept].astype(np.int32)
    if np.unique(values).size < values.size:
        return cells.with_columns(instance_id=None)
    order = np.argsort(values)
    return cells.take(order).with_columns(instance_id=values[order])


def recognise(peek: Peek) -> Recognition | None:
    """Recognise a masks.npy of shape (patches, rows, columns, 6)."""
    masks = [hit[0] for hit in peek.matches(_MASKS)]
    info = peek.info(masks[0]) if masks else None
    if masks and (info is None or info.channels == BACKGROUND + 1):
        return Recognition(Strength.SIGNATURE, "a masks.npy with a channel per class")
    return None


FORMAT = Format(
    name="pannuke-npy",
    title="PanNuke arrays",
    description=(
        "Three arrays per fold: images.npy (N, rows, columns, 3), masks.npy (N, rows, columns, 6: a channel per class, "
        "then background) and types.npy (tissues), float64 (https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke). "
        "Read by memory map, whatever its size."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(
        Option("fold", 1, "number of the fold", low=1),
        Option("default_class", "Neoplastic", "channel for cells with none of the five classes", choices=CLASS_NAMES),
        replace(POLICY, about="which cell keeps a pixel that two cells of one class claim"),
    ),
    limits=Limits(class_name="Neoplastic", classes=CLASS_NAMES, one_size=True),
)
