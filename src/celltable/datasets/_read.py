"""Helpers shared by readers: image records from file headers, cells from masks, findings about files."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import ArrayLike, NDArray

from celltable.cells import Finding, Image, Instances, Pixels, Sample, compose
from celltable.errors import ArchiveError, ImageFileError
from celltable.imagefile import Entry, Release


def located(entry: Entry, *, index: int | None = None, role: str = "", channel: int | None = None) -> Pixels:
    """Locate the pixels of a member."""
    return Pixels(entry.source, entry.name, index, role, channel)


def loader(release: Release, pixels: Sequence[Pixels]) -> Callable[[], NDArray[Any]]:
    """Return a function that loads the pixels of an image from an opened release."""

    def read(where: Pixels) -> NDArray[Any]:
        return release.read_pixels(release.entry(where.source, where.member), where.index)

    return lambda: compose(pixels, read)


class UnreadableImage(ImageFileError):
    """Raised if the only file of an image cannot be read; `image` holds what is known without it."""

    def __init__(self, message: str, image: Image) -> None:
        super().__init__(message)
        self.image = image


def image_of(release: Release, image_id: str, entry: Entry, *, whole: bool = False, **fields: Any) -> Image:
    """Describe an image by its file header: size, channels and type; `whole` decodes the file to verify it.

    Raises
    ------
    UnreadableImage
        If the file is damaged; see `unreadable_is_a_finding`.
    """
    try:
        info = release.image_info(entry)
        if whole:
            release.read_pixels(entry)
    except (ArchiveError, ImageFileError) as exc:
        known = {k: v for k, v in fields.items() if k not in ("pixels", "channels", "annotated")}
        raise UnreadableImage(str(exc), Image(image_id, 0, 0, annotated=False, **known)) from exc
    names = {1: ("grey",), 2: ("grey", "alpha"), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
    channels = fields.pop("channels", names.get(info.channels, ()))
    pixels = fields.pop("pixels", (located(entry),))
    return Image(image_id, info.height, info.width, pixels=pixels, channels=channels, dtype=info.dtype, **fields)


P = ParamSpec("P")


def unreadable_is_a_finding(load: Callable[P, Sample]) -> Callable[P, Sample]:
    """Wrap a reader's `load`: an image whose file is damaged becomes a record without pixels and cells."""

    @wraps(load)
    def tolerant(*args: P.args, **kwargs: P.kwargs) -> Sample:
        try:
            return load(*args, **kwargs)
        except UnreadableImage as exc:
            finding = Finding("unreadable-image", str(exc), "error", exc.image.image_id)
            return Sample(exc.image, Instances.empty((0, 0)), (finding,))

    return tolerant


def sample(release: Release, image: Image, cells: Instances, findings: Sequence[Finding] = ()) -> Sample:
    """Make a sample whose pixels are loaded from the release; truncated files become findings."""
    reported = any(f.rule == "unreadable-image" for f in findings)
    cut = [] if reported else truncated(release, image)
    return Sample(image, cells, (*findings, *cut), loader(release, image.pixels))


def truncated(release: Release, image: Image) -> list[Finding]:
    """Report each file of an image that is truncated after its header; the image and its cells are kept."""
    findings = []
    for where in image.pixels:
        if where.index is None:
            try:
                why = release.cut_short(release.entry(where.source, where.member))
            except ArchiveError:  # a damaged archive, reported when its header was read
                continue
            if why:
                findings.append(Finding("truncated-image", f"{where.member}: {why}", "error", image.image_id))
    return findings


def unlabelled(release: Release, image: Image, *findings: Finding) -> Sample:
    """Make a sample of an unannotated image, as opposed to an image without cells."""
    from dataclasses import replace

    return sample(release, replace(image, annotated=False), Instances.empty(image.size), findings)


def read_or_finding(release: Release, entry: Entry, image_id: str) -> tuple[NDArray[Any] | None, list[Finding]]:
    """Read a mask file, or return None and a finding that says why it cannot be read."""
    try:
        return release.read_pixels(entry), []
    except (ArchiveError, ImageFileError) as exc:
        return None, [Finding("unreadable-mask", str(exc), "error", image_id)]


def size_finding(mask: NDArray[Any], image: Image, name: str) -> list[Finding]:
    """Report a mask that differs in size from its image."""
    if mask.shape[:2] == image.size:
        return []
    text = f"{name} is {mask.shape[0]} × {mask.shape[1]} px, the image {image.height} × {image.width}"
    return [Finding("size-mismatch", text, "error", image.image_id)]


def fitting_mask(release: Release, entry: Entry, image: Image, findings: list[Finding]) -> NDArray[Any] | None:
    """Read the mask of an image, or return None and add a finding if it cannot be read or differs in size."""
    mask, wrong = read_or_finding(release, entry, image.image_id)
    if mask is not None:
        wrong = size_finding(mask, image, entry.name)
    findings += wrong
    return None if wrong else mask


def png(pixels: ArrayLike) -> bytes:
    """Encode an array as PNG (8 or 16 bit, grey, RGB or RGBA)."""
    from PIL import Image as Picture

    out = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG")
    return out.getvalue()


def tiff(pixels: ArrayLike, **options: Any) -> bytes:
    """Encode an array as TIFF; options are those of tifffile."""
    import tifffile

    out = io.BytesIO()
    tifffile.imwrite(out, np.ascontiguousarray(pixels), metadata=None, **options)
    return out.getvalue()
