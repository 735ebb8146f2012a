"""Read layouts of many files from a folder, an archive or a single file, leaving the pixels where they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Pixels, Sample
from celltable.errors import InputError, NotFoundError
from celltable.imagefile import MaskBatch, Release, image_info, open_release, read_pixels

Load = Callable[[], NDArray[Any]]


class Files:
    """The files of a layout: their names, bytes and pixels."""

    def __init__(self, path: Path, release: Release | None) -> None:
        self.path, self.release, self.closed = path, release, False
        self.entries = {} if release is None else {e.name: e for e in reversed(release.entries)}
        self.names = [path.name] if release is None else sorted(self.entries)

    def expect(self, found: Collection[object], what: str) -> None:
        """Refuse a folder without any file of the layout, and say what was expected.

        Raises
        ------
        InputError
        """
        if not found:
            shown = ", ".join(self.names[:3]) + (", …" if len(self.names) > 3 else "")
            raise InputError(f"{self.path}: expected {what}; found {shown or 'no files'}")

    def read(self, member: str) -> bytes:
        """Read the bytes of a member."""
        return self.path.read_bytes() if self.release is None else self.release.read(self.entries[member])

    def pixels(self, member: str) -> NDArray[Any]:
        """Decode an image member."""
        return read_pixels(self.read(member), member)

    def size(self, member: str) -> tuple[int, int, str]:
        """Read the height, width and NumPy type name of an image member from its header."""
        if self.release is None:
            info = image_info(self.read(member), member)
        else:
            info = self.release.image_info(self.entries[member])
        return info.height, info.width, info.dtype

    def masks(self, members: Sequence[str]) -> MaskBatch:
        """Read mask PNGs of single objects as run lengths."""
        if self.release is None:
            raise InputError(f"{self.path}: a single file; expected a folder of masks")
        return self.release.read_masks([self.entries[m] for m in members])

    def array(self, member: str) -> NDArray[Any]:
        """Open an .npy member as a read-only memory map; refuse pickled arrays."""
        if self.release is None:
            raise InputError(f"{self.path}: a single file; expected a folder of arrays")
        return self.release.memmap(self.entries[member])

    def load_row(self, member: str, row: int) -> Load:
        """Return a function that reads one image of an .npy stack; whole numbers from 0 to 255 become 8-bit."""
        path, entry = self.path, self.entries[member]

        def pixels() -> NDArray[Any]:
            if self.release is not None and not self.closed:
                found = self.release.read_pixels(entry, row)
            else:
                with open_release(path) as release:
                    found = release.read_pixels(entry, row)
            return as_8_bit(found)

        return pixels

    def where(self, member: str) -> Pixels:
        """Return the location of a member, as stored in an image record."""
        entry = self.entries.get(member)
        return Pixels(entry.source if entry else "", member)

    def local(self, member: str) -> Path:
        """Return a file on disk that holds the member."""
        return self.path if self.release is None else self.release.extract(self.entries[member])

    def load(self, member: str) -> Load:
        """Return a function that decodes the member when called, even after the release was closed."""
        path, entry = self.path, self.entries.get(member)

        def pixels() -> NDArray[Any]:
            if entry is None or (self.release is not None and not self.closed):
                return self.pixels(member)
            with open_release(path) as release:
                return release.read_pixels(entry)

        return pixels


def as_8_bit(pixels: NDArray[Any]) -> NDArray[Any]:
    """Convert floating-point pixels to 8 bits if that is lossless.

    >>> as_8_bit(np.array([[0.0, 255.0]])).dtype, as_8_bit(np.array([[0.5]])).dtype
    (dtype('uint8'), dtype('float64'))
    """
    if pixels.dtype.kind != "f":
        return pixels
    small = pixels.astype(np.uint8) if not pixels.size or (pixels.min() >= 0 and pixels.max() <= 255) else None
    return small if small is not None and (small == pixels).all() else pixels


@contextmanager
def open_files(path: str | Path, endings: tuple[str, ...] = ()) -> Iterator[Files]:
    """Open a folder or an archive, or a single file with one of `endings`.

    Raises
    ------
    NotFoundError
        If `path` does not exist.
    """
    path = Path(path)
    if not path.exists():
        raise NotFoundError(f"{path} does not exist.")
    if endings and path.is_file() and path.name.lower().endswith(endings):
        yield Files(path, None)
        return
    with open_release(path) as release:
        files = Files(path, release)
        try:
            yield files
        finally:
            files.closed = True


def pictures_and_labels(files: Files, pattern: re.Pattern[str], ending: str) -> tuple[dict[str, str], dict[str, str]]:
    """List the members of the folders images and labels by name; only labels have the given ending.

    `pattern` captures the folder, name and ending of a member.
    """
    found: dict[str, dict[str, str]] = {"images": {}, "labels": {}}
    for member in files.names:
        if hit := pattern.match(member):
            place = hit[1].lower()
            if (hit[3].lower() == ending) == (place == "labels"):
                found[place][hit[2]] = member
    return found["images"], found["labels"]


def image_of(
    files: Files,
    image_id: str,
    picture: str | None,
    known: Mapping[str, Image],
    fallback: tuple[int, int] | None,
    findings: list[Finding],
) -> tuple[Image, Load | None]:
    """Make the Image of a picture file, with the size of the known image, the file or the annotation, in that order."""
    image = known.get(image_id)
    if picture is None:
        return image or Image(image_id, *(fallback or (0, 0))), None
    load = files.load(picture)
    if image is None:
        try:
            height, width, kind = files.size(picture)
        except InputError as exc:
            findings.append(Finding("unreadable-image", f"{picture}: {exc}", "error", image_id))
            return Image(image_id, *(fallback or (0, 0))), None
        image = Image(image_id, height, width, pixels=(files.where(picture),), dtype=kind)
    return image, load


def with_pixels(files: Files, sample: Sample, member: str) -> Sample:
    """Give the sample the pixels of a member."""
    image = sample.image
    if not image.pixels:
        image = replace(image, pixels=(files.where(member),))
    return replace(sample, image=image, load_pixels=files.load(member))
