"""Take a quick look at a file or folder of unknown format: names, first bytes, outlines of JSON, single pictures.

Formats judge a path by what a `Peek` shows. It lists a limited number of files and reads only the beginning of large
ones, so that asking every format about a path takes milliseconds.
"""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.errors import CelltableError, NotFoundError
from celltable.geometry.label_map import components, measure
from celltable.imagefile import Entry, ImageInfo, Release, image_info, open_release, open_strips, read_pixels
from celltable.imagefile.container import is_archive

PER_FOLDER: Final = 1000  # files listed per folder
LISTED: Final = 20_000  # files listed in total
FOLDERS: Final = 2000
HEAD_BYTES: Final = 1 << 18
LARGEST: Final = 1 << 26  # largest file to decode whole, in bytes
SAMPLED_ROWS: Final = 512  # rows read from a label map that is too large to decode whole
SAMPLED_PX: Final = 1 << 23
ALIKE: Final = 0.6  # least share of neighbouring pixels in cells with equal ids: that of touching cells of 3 × 3 px
BACKGROUND: Final = 0.01  # least share of background in a label map


@dataclass(frozen=True, slots=True)
class Outline:
    """The beginning of a JSON document.

    Attributes
    ----------
    top
        ``{`` or ``[``; empty for anything else.
    members
        Keys of the object, as far as the beginning shows them, with the first character of each value, or the text
        itself for short strings. For a list: the keys of its first object.
    first
        Key of a list → the keys of its first object.
    """

    top: str = ""
    members: dict[str, str] = field(default_factory=dict)
    first: dict[str, frozenset[str]] = field(default_factory=dict)


class Peek:
    """A view of a path from outside, for format detection; a context manager.

    Attributes
    ----------
    path
        The file or folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise NotFoundError(f"{self.path} does not exist.")
        self._release: Release | None = None
        self._outlines: dict[str, Outline] = {}
        self._pictures: dict[str, NDArray[Any]] = {}

    def __enter__(self) -> Peek:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._release is not None:
            self._release.close()

    @property
    def is_folder(self) -> bool:
        """Whether the path is a folder rather than a file; see also `is_archive`."""
        return self.path.is_dir()

    @cached_property
    def is_archive(self) -> bool:
        """Whether the path is a zip or tar, whose members are listed like the files of a folder."""
        return self.path.is_file() and is_archive(self.path.name)

    @property
    def is_file(self) -> bool:
        """Whether the path is a single file and not an archive."""
        return not self.is_folder and not self.is_archive

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Sorted paths of the files inside, with ``/``; for a file, its name. Large folders are listed in part."""
        if self.is_file:
            return (self.path.name,)
        if self.is_archive:
            return tuple(islice(self._entries, LISTED))
        return tuple(sorted(islice(_listed(self.path), LISTED)))

    @property
    def _opened(self) -> Release:
        if self._release is None:
            self._release = open_release(self.path)
        return self._release

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        return {entry.name: entry for entry in self._opened.entries}

    def matches(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        """Match a pattern against whole names."""
        return [hit for name in self.names if (hit := pattern.fullmatch(name))]

    def head(self, name: str, n: int = HEAD_BYTES) -> bytes:
        """Read the first bytes of a file, decompressed if it is gzipped; empty if it cannot be read."""
        try:
            if self.is_archive:
                return self._opened.head(self._entries[name], n)
            with self._file(name).open("rb") as stream:
                if name.lower().endswith(".gz"):
                    with gzip.open(stream) as unpacked:
                        return unpacked.read(n)
                return stream.read(n)
        except (OSError, EOFError, CelltableError):
            return b""

    def _file(self, name: str) -> Path:
        return self.path if self.is_file else self.path / name

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; 0 if it cannot be read."""
        try:
            if self.is_archive:
                return self._entries[name].size
            return self._file(name).stat().st_size
        except OSError:
            return 0

    def whole(self, name: str) -> bytes:
        """Read a whole file; empty if it is larger than 64 MiB or cannot be read."""
        return self.head(name, LARGEST) if self.size(name) <= LARGEST else b""

    def text(self, name: str) -> str:
        """Read the beginning of a text file, without a byte-order mark."""
        return self.head(name).decode("utf-8-sig", "replace")

    def columns(self, name: str) -> tuple[str, ...]:
        """Read the column names of a CSV from its first line."""
        first = self.text(name).partition("\n")[0]
        return tuple(cell.strip().strip('"') for cell in first.rstrip("\r").split(","))

    def outline(self, name: str) -> Outline:
        """Outline the beginning of a JSON file."""
        if name not in self._outlines:
            self._outlines[name] = json_outline(self.text(name))
        return self._outlines[name]

    def info(self, name: str) -> ImageInfo | None:
        """Read the size and type of an image file from its header; None if it is not an image."""
        try:
            if self.is_archive:
                return self._opened.image_info(self._entries[name])
            return image_info(self._file(name))
        except (CelltableError, OSError):
            return None

    def picture(self, name: str) -> NDArray[Any] | None:
        """Read the pixels of an image file, or some rows of a large TIFF; None if it is too large or unreadable."""
        if name not in self._pictures:
            try:
                pixels = self._pixels(name)
            except (CelltableError, OSError):
                return None
            if pixels is None:
                return None
            self._pictures[name] = pixels
        return self._pictures[name]

    def _pixels(self, name: str) -> NDArray[Any] | None:
        info = self.info(name)
        if info is None:
            return None
        if info.height * info.width > SAMPLED_PX and not self.is_archive:
            strips = open_strips(self._file(name))
            if strips is not None:
                start = max(0, (strips.shape[0] - SAMPLED_ROWS) // 2)
                return strips.rows(start, min(strips.shape[0], start + SAMPLED_ROWS))
        data = self.whole(name)
        return read_pixels(data, name) if data else None

    @cached_property
    def summary(self) -> str:
        """The files in words for a message: ``12 .png and 3 .txt files``."""
        if self.is_file:
            return f"a file {self.path.name}"
        endings = Counter(Path(n).suffix.lower() or "without an ending" for n in self.names)
        parts = [f"{n:,} {ending}" for ending, n in endings.most_common(3)]
        if not parts:
            return "no files"
        listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
        return f"{listed} file{'' if sum(endings.values()) == 1 else 's'}"


def _listed(root: Path) -> Iterator[str]:
    """List files under a folder breadth-first, a limited number per folder; hidden files only inside a Zarr."""
    waiting, opened = deque([""]), 0
    while waiting and opened < FOLDERS:
        place = waiting.popleft()
        opened += 1
        try:
            with os.scandir(root / place) as entries:
                seen = sorted(islice(entries, PER_FOLDER), key=lambda e: e.name)
        except OSError:
            continue
        for entry in seen:
            if entry.is_dir():
                waiting.append(f"{place}{entry.name}/")
            elif not entry.name.startswith(".") or entry.name.startswith(".z"):
                yield f"{place}{entry.name}"


def spread(names: Sequence[str], n: int) -> list[str]:
    """Pick up to `n` of the names at equal distances, starting with the first.

    >>> spread(["a", "b", "c", "d", "e"], 2)
    ['a', 'e']
    """
    if len(names) <= n:
        return list(names)
    return [names[k * (len(names) - 1) // max(1, n - 1)] for k in range(n)]


_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([{}\[\]:,])|([^\s"{}\[\]:,]+))')


def json_outline(text: str) -> Outline:
    """Find the keys of a JSON text and of the first objects in its lists, even if the text is truncated.

    >>> found = json_outline('{"images": [{"id": 1, "file_name": "a.png"}, {"id"')
    >>> found.top, found.members, sorted(found.first["images"])
    ('{', {'images': '['}, ['file_name', 'id'])
    """
    members: dict[str, str] = {}
    first: dict[str, set[str]] = {}
    stack: list[str] = []  # open brackets
    keys: list[str] = []  # the current key in each of them
    done: set[str] = set()  # lists whose first object has ended
    expecting_key, top = False, ""
    for token in _tokens(text):
        if token in "{[":
            if not stack:
                top = token
            elif stack == ["{"]:
                members.setdefault(keys[-1], token)
            stack.append(token)
            keys.append("")
            expecting_key = token == "{"
        elif token in "}]":
            if stack == ["{", "[", "{"]:
                done.add(keys[0])
            if stack:
                stack.pop()
                keys.pop()
            if not stack or (top == "[" and len(stack) == 1):
                break
            expecting_key = False
        elif token == ",":
            expecting_key = bool(stack) and stack[-1] == "{"
        elif token == ":":
            expecting_key = False
        elif expecting_key:
            keys[-1] = token[1:-1]
            if stack == ["{", "[", "{"] and keys[0] not in done:
                first.setdefault(keys[0], set()).add(keys[-1])
            elif stack == ["[", "{"]:
                members.setdefault(keys[-1], "")
        elif stack in (["{"], ["[", "{"]):
            members[keys[-1]] = token[1:-1][:80] if token[0] == '"' else token[:1]
    return Outline(top, members, {k: frozenset(v) for k, v in first.items()})


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while (hit := _TOKEN.match(text, at)) is not None:
        at = hit.end()
        yield hit[1] or hit[2] or hit[3]


def is_label_map(pixels: NDArray[Any]) -> bool | None:
    """Whether an array looks like a map of cell ids rather than a grey picture; None if it is empty (all background).

    In a label map each value is a compact region on background 0; in a picture pixels of equal brightness are
    scattered. Binary masks of several objects are not label maps, as they do not tell the objects apart.

    >>> is_label_map(np.array([[0, 0, 0, 0], [0, 3, 3, 0], [0, 3, 3, 0], [0, 0, 0, 0]]))
    True
    >>> is_label_map(np.arange(64).reshape(8, 8)), is_label_map(np.zeros((8, 8), int))
    (False, None)
    """
    plane = _plane(pixels)
    if plane is None:
        return False
    if not plane.any():
        return None
    if min(_alike(plane[:, 1:], plane[:, :-1]), _alike(plane[1:], plane[:-1])) < ALIKE:
        return False
    if np.count_nonzero(plane == 0) < BACKGROUND * plane.size:
        return False
    found = measure(plane)
    regions = int(components(plane, 8).max())
    if len(found.ids) == 1 and int(found.ids[0]) in (255, 65535):
        return regions == 1
    if regions <= 3 * len(found.ids):
        return True
    boxes_px = int((found.boxes[:, 2].astype(np.int64) * found.boxes[:, 3]).sum())
    return regions <= 8 * len(found.ids) and int(found.areas.sum()) >= 0.2 * boxes_px


def _alike(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Compute the share of equal values among neighbouring pixels that are both not 0; 1 if there are none."""
    inside = (a > 0) & (b > 0)
    n = int(np.count_nonzero(inside))
    return int(np.count_nonzero(inside & (a == b))) / n if n else 1.0


def _plane(pixels: NDArray[Any]) -> NDArray[Any] | None:
    """Convert the array to one plane of non-negative integers; None if it is not one."""
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4) and bool((pixels[..., :1] == pixels[..., 1:3]).all()):
        pixels = pixels[..., 0]
    if pixels.ndim != 2 or pixels.size == 0 or pixels.dtype.kind not in "biuf":
        return None
    if pixels.dtype.kind == "f":
        if not np.array_equal(pixels, np.trunc(pixels)) or abs(float(pixels.max())) >= 2**31:
            return None
        pixels = pixels.astype(np.int64)
    elif pixels.dtype.kind == "b":
        pixels = pixels.view(np.uint8)
    low, high = int(pixels.min()), int(pixels.max())
    return None if low < 0 or high >= 2**31 else np.ascontiguousarray(pixels)


def label_maps(peek: Peek, names: Sequence[str], n: int = 6) -> bool | None:
    """Judge whether files are label maps by the pixels of some of them; None if all of these are empty.

    One grey picture is enough for False, since it would be scored if read as a label map. Files that readers refuse
    anyway (in colour, with fractions, damaged) may occur among label maps as long as they are not the majority.
    """
    maps = odd = 0
    for name in spread(names, n):
        pixels = peek.picture(name)
        if pixels is None:
            continue
        answer = is_label_map(pixels)
        if answer is False and _plane(pixels) is not None:
            return False
        maps, odd = maps + (answer is True), odd + (answer is False)
    if odd > maps:
        return False
    return True if maps else None


def named(names: Iterable[str], *endings: str) -> list[str]:
    """Select the names with one of the endings, ignoring case.

    >>> named(["a.PNG", "b.txt"], ".png")
    ['a.PNG']
    """
    return [n for n in names if n.lower().endswith(endings)]
