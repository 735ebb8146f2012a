"""Run-length CSV of the 2018 Data Science Bowl: one row per nucleus, 1-based column-major runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError
from celltable.notation.kaggle import kaggle_text, rows_by_image, sample_of
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import POLICY, drop_empty, flatten, tally
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek

from ._order import in_order_of
from ._out import new_file

KEEPS: Final = frozenset({"overlap", "holes", "components", "exact-mask", "empty-images"})
COLUMNS: Final = {
    "labels": ("ImageId", "EncodedPixels"),
    "submission": ("ImageId", "EncodedPixels"),
    "solution": ("ImageId", "EncodedPixels", "Height", "Width", "Usage"),
}
USAGES: Final = ("Public", "Private", "Ignored")  # Ignored: kept, never scored (stage 2 decoys)


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    table: str = "labels",
    policy: str = "first-wins",
    usage: str = "Private",
    like: Path | None = None,
    overwrite: bool = False,
) -> ConversionReport:
    """Write the cells of `samples` as rows; an image without cells has one row with no runs.

    Parameters
    ----------
    table
        ``labels`` (ImageId, EncodedPixels), ``solution`` (also Height, Width, Usage) or ``submission`` (as labels, but
        without overlapping masks, which the competition refuses).
    policy
        Which cell keeps a shared pixel in a submission (see `celltable.geometry.masks.Masks.flatten`).
    usage
        Usage of images without one in their metadata; ignored images are always ``Ignored``.
    like
        A CSV whose order of images is followed, for example the sample submission.
    """
    report = ConversionReport()
    keeps = KEEPS | ({"image-size"} if table == "solution" else set())

    def rows() -> Iterator[tuple[str, str]]:
        for sample in samples:
            kept = ("ignore", "metadata") if _only_usage(sample.image, table) else ()
            if table == "submission":
                cells = Instances.from_label_map(flatten(report, sample, keeps, policy, image_fields=kept))
            else:
                sample = drop_empty(report, sample)
                tally(report, sample, keeps, kept)
                cells = sample.instances
            tail = _tail(sample.image, usage) if table == "solution" else ()
            texts = [kaggle_text(counts, cells.size) for counts in cells.rle] or [""]
            head, end = _quoted(sample.image.image_id), "".join(f",{_quoted(str(v))}" for v in tail)
            yield sample.image.image_id, "".join(f"{head},{text}{end}\n" for text in texts)

    with new_file(out, overwrite) as path, path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(",".join(COLUMNS[table]) + "\n")
        stream.writelines(in_order_of(like, rows()))
    report.written["files"] = 1
    return report


def _quoted(text: str) -> str:
    """Quote a field of a CSV if necessary."""
    if not any(c in text for c in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def _only_usage(image: Image, table: str) -> bool:
    return table == "solution" and set(image.metadata) <= {"usage"}


def _tail(image: Image, usage: str) -> tuple[int, int, str]:
    return image.height, image.width, "Ignored" if image.ignore else image.metadata.get("usage", usage)


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read a CSV of runs; sizes come from its Height and Width columns or from the known `images`.

    A row that breaks a rule of the format becomes a finding and is left out; the other rows are read.

    Raises
    ------
    InputError
        If the columns are not those of the format, or a size is neither in the file nor among `images`.
    """
    known = images or {}
    found = rows_by_image(Path(path))
    unsized = [i for i, rows in found.items() if rows.size is None and i not in known]
    if unsized and len(unsized) == len(found):
        raise InputError(
            f"{Path(path).name} has no Height and Width columns and none of its {len(found):,} images is known: their "
            "sizes are needed to read column-major runs. Give the images that it belongs to."
        )
    for image_id, rows in found.items():
        yield sample_of(image_id, rows, known.get(image_id))


def recognise(peek: Peek) -> Recognition | None:
    """Recognise a CSV whose first columns are ImageId and EncodedPixels."""
    if peek.is_file and peek.columns(peek.path.name)[:2] == ("ImageId", "EncodedPixels"):
        return Recognition(Strength.SIGNATURE, "the columns ImageId and EncodedPixels")
    return None


FORMAT = Format(
    name="dsb-csv",
    title="Data Science Bowl 2018 CSV",
    description=(
        "A CSV with one row per nucleus: ImageId, EncodedPixels, and for solutions Height, Width and Usage. Pixels are "
        "numbered from 1 down the columns, as pairs of start and length "
        "(https://www.kaggle.com/c/data-science-bowl-2018/overview/evaluation)."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(
        Option(
            "table",
            "labels",
            "labels, submission (no overlap, as the competition demands) or solution (with Height, Width, Usage)",
            choices=tuple(COLUMNS),
        ),
        replace(POLICY, default="first-wins", about="which cell keeps a pixel that two cells claim, in a submission"),
        Option("usage", "Private", "Usage of images without one", choices=USAGES),
        Option("like", None, "a CSV whose order of images is followed, for example the sample submission", type=Path),
    ),
    extensions=(".csv",),
)
