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

# What a format may be able to hold; each is a column of the documentation's matrix.
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
    """What a conversion could not keep: loss → number of cells (or of pixels or images, as the text says).

    `written` counts what was written; writers of a `figure` also say where each image went and which of its cells were
    not written (image id → instance ids).

    >>> report = ConversionReport(); report.add("overlap: pixels assigned to another cell", 3); print(report)
    overlap: pixels assigned to another cell: 3
    """

    items: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)  # what was written: files, images, cells
    parts: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, list[int]] = field(default_factory=dict)

    def add(self, what: str, n: int = 1) -> None:
        """Add `n` to the count of a loss; 0 adds nothing."""
        if n:
            self.items[what] += n

    def __str__(self) -> str:
        return "\n".join(f"{what}: {n:,}" for what, n in sorted(self.items.items())) or "nothing was lost"


class Strength(IntEnum):
    """How specific a recognition is; the format with the strongest recognition is chosen."""

    CONTENT = 1  # files of this kind may be in the format, and their content fits it
    LAYOUT = 2  # the names of folders and files are the format's own, and their content fits it
    SIGNATURE = 3  # a header, key or magic number that only this format has


@dataclass(frozen=True, slots=True)
class Recognition:
    """Evidence that a path is in a format: how specific it is, and what it is, in words.

    `reason` completes the sentence "it is in this format because it has …".
    """

    strength: Strength
    reason: str


@dataclass(frozen=True, slots=True)
class About:
    """What a file or folder states about the data set as a whole; empty for what it does not state.

    Attributes
    ----------
    classes
        The classes it lists, in its order, including those without any cell.
    title, licence, citation
        Title, licence and citation as stated in the file.
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
    """Assumptions of a format, which determine how its cells are read back.

    Attributes
    ----------
    kind, class_name, score
        Values that a cell gets when read, if the format does not store them.
    classes
        The only classes that it can hold; empty if any class can be written.
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
        The plug-in's name (kebab-case), the format's own name, and two sentences that describe it and cite its
        specification.
    keeps
        The FEATURES it can hold.
    read
        ``read(path, images, **read_options)`` yields Samples and may return an `About`; `images` maps image ids to
        known Images (sizes, pixels) for formats that do not store sizes, and may be empty. None if it cannot be read.
    write
        ``write(samples, out, *, overwrite, **write_options)`` consumes an iterable of Samples once, streaming, writes
        atomically (to a temporary name beside `out`, then renamed) and returns the ConversionReport. None if it cannot
        be written.
    recognise
        ``recognise(peek)`` returns the evidence that a path is in this format, from what a `Peek` shows of it: names,
        headers, the content of a few files; None if it is not. Required if there is a `read`.
    read_options, write_options
        Every keyword of `read` and of `write`, except `overwrite`.
    extensions
        Extensions of the files that it writes; empty for folders.
    limits
        What it assumes about things it cannot store.
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
        """All options without duplicates: those of `write`, then those that only `read` has."""
        written = {option.name for option in self.write_options}
        return (*self.write_options, *(option for option in self.read_options if option.name not in written))


OVERWRITE = Option("overwrite", False, "replace whatever is at the output path")


def detect(path: str | Path) -> Format:
    """Detect the format of a file or folder: ask every readable format and take the most specific answer.

    Raises
    ------
    NotFoundError
        If `path` does not exist.
    InputError
        If no format recognises it, or several do with equal strength.
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
    """Load the readable format called `name`.

    Raises
    ------
    UnknownPluginError, CelltableError
        If there is no such format, or it can only be written.
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
    """Collect the answers of all formats that recognise the path, by name."""
    found: dict[str, Recognition] = {}
    for name, plugin in plugins.load_all("formats").items():
        if plugin.recognise is None:
            continue
        try:
            answer = plugin.recognise(peek)
        except CelltableError as exc:
            exc.add_note(f"while the format {name} inspected {peek.path}")
            raise
        if answer is not None:
            found[name] = answer
    return found


def matrix() -> list[dict[str, str]]:
    """Tabulate what each format keeps, for the documentation: format, title, reads, writes, then a column per feature.

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
