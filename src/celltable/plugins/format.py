"""The contract of an annotation format: recognise a path, read it, write it, and state what a conversion loses.

A module of `celltable.formats` holds one frozen ``FORMAT``. Writers take Samples and return a ConversionReport; readers
yield Samples. Neither knows about stores or data sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from celltable import plugins
from celltable.cells import Sample
from celltable.errors import CelltableError, InputError, PluginError

from .contract import check_name, check_options
from .options import Option
from .peek import Peek

# What a format may be able to hold; the docs' matrix has one column each.
FEATURES = (
    "overlap",  # two cells on the same pixel
    "holes",  # a hole inside a cell
    "components",  # several parts of one cell
    "ids",  # instance ids
    "classes",  # one class per cell
    "multi-class",  # several classes per cell
    "scores",  # confidences
    "crowd",  # crowd and ignore flags
    "kind",  # nucleus or cell, and parents
    "exact-mask",  # every pixel of the mask
    "polygons",  # published polygons, untouched
    "image-size",  # height and width of the image
    "empty-images",  # an image without cells
    "pixels",  # the image itself
    "details",  # truncation, annotator, published areas and boxes of a cell
    "image-details",  # modality, tissue, split, labels, metadata, … of an image
)


@dataclass(slots=True)
class ConversionReport:
    """What a conversion could not keep: what was lost → number of cells (or pixels, images: the text says which).

    `written` counts what was written; writers of a `figure` also say where each image went and which of its cells are
    not there (image id → instance ids).

    >>> report = ConversionReport(); report.add("overlap: pixels given to another cell", 3); print(report)
    overlap: pixels given to another cell: 3
    """

    items: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)  # what was written: files, images, cells
    parts: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[int]] = field(default_factory=dict)

    def add(self, what: str, n: int = 1) -> None:
        """Count `n` more of one loss; 0 adds nothing."""
        if n:
            self.items[what] += n

    def __str__(self) -> str:
        return "\n".join(f"{what}: {n:,}" for what, n in sorted(self.items.items())) or "nothing was lost"


class Strength(IntEnum):
    """How specific a recognition is; the most specific format of a path is taken."""

    CONTENT = 1  # files of this kind may be in the format, and their content fits it
    LAYOUT = 2  # the names of folders and files are the format's own, and their content fits it
    SIGNATURE = 3  # a header, key or magic number that only this format has


@dataclass(frozen=True, slots=True)
class Recognition:
    """That a path looks like a format: how specific the signs are, and what they are, in words.

    `reason` completes the sentence "it is in this format because it has …".
    """

    strength: Strength
    reason: str


@dataclass(frozen=True, slots=True)
class About:
    """What a file or folder says of the data set as a whole; empty where it says nothing.

    Attributes
    ----------
    classes
        The classes it lists, in its order, also those of which no cell occurs.
    title, licence, citation
        As it states them.
    non_commercial
        Whether its licence forbids commercial use.
    """

    classes: tuple[str, ...] = ()
    title: str = ""
    licence: str = ""
    citation: str = ""
    non_commercial: bool = False


Reading = Generator[Sample, None, About | None] | Iterator[Sample]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a format can only assume, and what its cells therefore come back as.

    Attributes
    ----------
    kind, class_name, score
        What a cell is read as where the format does not say.
    classes
        The only classes that it holds; empty where any may be written.
    one_part
        Only the largest part of a cell is kept.
    one_size
        All images have one size.
    semantic
        Pixels have classes but no cells: touching cells of a class come back as one.
    divides
        Writing divides the images among train, val and test.
    """

    kind: str = "nucleus"
    class_name: str | None = None
    score: float | None = None
    classes: tuple[str, ...] = ()
    one_part: bool = False
    one_size: bool = False
    semantic: bool = False
    divides: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """An annotation format.

    Attributes
    ----------
    name, title, description
        The plug-in's name (kebab-case), the format's own name, and what it is in two sentences with its specification.
    keeps
        The FEATURES it holds.
    read
        ``read(path, images, **read_options)`` yields Samples and may return an `About`; `images` maps image ids to
        known Images (sizes, pixels) for formats that name no size, and may be empty. None where reading makes no sense.
    write
        ``write(samples, out, *, overwrite, **write_options)`` consumes an iterable of Samples once, streaming, writes
        atomically (a temporary name beside `out`, then a rename) and returns the ConversionReport. None where writing
        makes no sense.
    recognise
        ``recognise(peek)`` says whether a path looks like this format, from what a `Peek` shows of it: names, headers,
        the content of a few files. None: it does not. Needed where there is `read`.
    read_options, write_options
        Every keyword of `read` and of `write` but `overwrite`.
    extensions
        Endings of the files that it writes; empty for folders.
    limits
        What it assumes where it cannot say.
    figure
        The folder it writes comes with a figure of its statistics, which the export draws from the report's `parts`.
    """

    name: str
    title: str
    description: str
    keeps: frozenset[str]
    read: Callable[..., Reading] | None = None
    write: Callable[..., ConversionReport] | None = None
    recognise: Callable[[Peek], Recognition | None] | None = None
    read_options: tuple[Option, ...] = ()
    write_options: tuple[Option, ...] = ()
    extensions: tuple[str, ...] = ()
    limits: Limits = Limits()
    figure: bool = False

    def __post_init__(self) -> None:
        owner = f"the format {self.name}"
        check_name(owner, self.name)
        unknown = sorted(self.keeps - set(FEATURES))
        if unknown:
            raise PluginError(f"{owner} keeps {', '.join(unknown)}; expected some of {', '.join(FEATURES)}.")
        if (self.read is None) != (self.recognise is None):
            raise PluginError(f"{owner} has only one of read() and recognise(); expected both or neither.")
        check_options(owner, self.read_options, {"read": self.read}, given=2)
        check_options(owner, (*self.write_options, OVERWRITE), {"write": self.write}, given=2)

    @property
    def options(self) -> tuple[Option, ...]:
        """Every option, each once: those of `write`, then those of `read` alone."""
        written = {option.name for option in self.write_options}
        return (*self.write_options, *(option for option in self.read_options if option.name not in written))


OVERWRITE = Option("overwrite", False, "replace what is at the output path")


def detect(path: str | Path) -> Format:
    """The format of a file or folder: every readable format is asked, the most specific answer is taken.

    Raises
    ------
    NotFoundError
        If there is nothing at `path`.
    InputError
        If no format recognises it, or several do equally.
    """
    with Peek(path) as peek:
        answers = recognitions(peek)
        best = max((answer.strength for answer in answers.values()), default=None)
        likely = {name: answer for name, answer in answers.items() if answer.strength == best}
        if len(likely) == 1:
            found: Format = plugins.load("formats", next(iter(likely)))
            return found
        if likely:
            claims = " and ".join(f"{name} ({answer.reason})" for name, answer in likely.items())
            raise InputError(f"{peek.path} may be in the formats {claims}; {_say_which(next(iter(likely)))}.")
        raise InputError(f"{peek.path}: found {peek.summary}, {_UNKNOWN}; if it is one of them, {_say_which('coco')}.")


def readable_format(name: str) -> Format:
    """The format called `name`.

    Raises
    ------
    UnknownPluginError, CelltableError
        If there is none, or it can only be written.
    """
    found: Format = plugins.load("formats", name)
    if found.read is None:
        readable = [n for n, plugin in plugins.load_all("formats").items() if plugin.read is not None]
        raise CelltableError(f"{found.name} can be written but not read. Readable: {', '.join(readable)}.")
    return found


_UNKNOWN = (
    "which no format recognises (celltable export --list names the formats; pictures alone contain no annotations)"
)


def _say_which(name: str) -> str:
    return f"name the format, for example --from {name} (import) or --pred-format {name} (evaluate)"


def recognitions(peek: Peek) -> dict[str, Recognition]:
    """The answers of all formats that recognise what is there, by name."""
    found: dict[str, Recognition] = {}
    for name, plugin in plugins.load_all("formats").items():
        if plugin.recognise is None:
            continue
        try:
            answer = plugin.recognise(peek)
        except CelltableError as exc:
            exc.add_note(f"while the format {name} looked at {peek.path}")
            raise
        if answer is not None:
            found[name] = answer
    return found


def matrix() -> list[dict[str, str]]:
    """What each format keeps, as rows for the documentation: format, title, reads, writes, then a column per feature.

    >>> [row["overlap"] for row in matrix() if row["format"] in ("coco", "label-tiff")]
    ['yes', '']
    """
    rows = []
    for name, plugin in plugins.load_all("formats").items():
        row = {"format": name, "title": plugin.title}
        row["reads"] = "yes" if plugin.read else ""
        row["writes"] = "yes" if plugin.write else ""
        row.update((feature, "yes" if feature in plugin.keeps else "") for feature in FEATURES)
        rows.append(row)
    return rows
