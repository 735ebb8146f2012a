"""Submission CSV of the Human Protein Atlas single-cell challenge: class, confidence and packed mask of every cell."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError, MaskError
from celltable.geometry import rle
from celltable.geometry.masks import Masks
from celltable.notation.hpa import CLASSES, NEGATIVE, class_number
from celltable.notation.text import open_text
from celltable.plugins.format import About, ConversionReport, Format, Limits, Reading, Recognition, Strength
from celltable.plugins.losses import CLASSES as DROPPED_CLASS
from celltable.plugins.losses import GIVEN_CLASS, GIVEN_SCORE, drop_empty, tally
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek

from ._order import in_order_of
from ._out import new_file

KEEPS: Final = frozenset(
    {"overlap", "holes", "components", "classes", "multi-class", "scores", "exact-mask", "image-size", "empty-images"}
)
MERGED_LOCATION: Final = "classes: cells whose location is written as the class that includes it"
MAX_COUNTS_BYTES: Final = 1 << 24  # largest mask, as protection against decompression bombs
_PAIR: Final = 3  # tokens per cell: class, confidence, mask


def write(
    samples: Iterable[Sample],
    out: Path,
    *,
    default_class: int = NEGATIVE,
    id_column: str = "ID",
    like: Path | None = None,
    overwrite: bool = False,
) -> ConversionReport:
    """Write one row per image; a cell of several classes is repeated, an image without cells gets an empty mask.

    `default_class` is written for cells without a class of the challenge; cells without a score get confidence 1.
    Locations of the atlas are written as the class that includes them (``Peroxisomes`` as 17) and counted. The images
    follow the order of `like`, a CSV such as the sample submission.
    """
    report = ConversionReport()

    def rows() -> Iterator[tuple[str, str]]:
        for sample in samples:
            sample = drop_empty(report, sample)
            tally(report, sample, KEEPS, kind="cell")
            text = " ".join(_triples(sample.instances, default_class, report)) or empty_prediction(sample.image.size)
            image = sample.image
            yield image.image_id, _csv_row(image.image_id, image.width, image.height, text)

    with new_file(out, overwrite) as path, path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(_csv_row(id_column, "ImageWidth", "ImageHeight", "PredictionString"))
        stream.writelines(in_order_of(like, rows()))
    report.written["files"] = 1
    return report


def _csv_row(*cells: object) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _triples(cells: Instances, default: int, report: ConversionReport) -> Iterator[str]:
    columns = [cells.column(n) for n in ("class_name", "class_names", "class_scores", "score")]
    for counts, name, names, each, score in zip(cells.rle, *columns, strict=True):
        mask = pack_mask(counts)
        report.add(GIVEN_SCORE, int(score is None and not each))
        for k, one in enumerate(names or [name]):
            number = default if one is None else _number(one, default, report)
            report.add(GIVEN_CLASS, int(one is None))
            confidence = each[k] if each else (1.0 if score is None else score)
            yield f"{number} {_short(confidence)} {mask}"


def _number(name: str, default: int, report: ConversionReport) -> int:
    """Return the number of a class given by name, number, or a location of the atlas that it includes."""
    if name.isascii() and name.isdecimal() and int(name) < len(CLASSES):
        return int(name)
    number = class_number(name)
    report.add(DROPPED_CLASS, int(number is None))
    report.add(MERGED_LOCATION, int(number is not None and name != CLASSES[number]))
    return default if number is None else number


def _short(value: float) -> str:
    text = repr(float(value))
    return text.removesuffix(".0")


def empty_prediction(size: Sequence[int]) -> str:
    """Make the placeholder of sample_submission.csv: class 0, confidence 1, an empty mask.

    >>> empty_prediction((2048, 2048))
    '0 1 eNoLCAgIMAEABJkBdQ=='
    """
    return f"0 1 {pack_mask(rle.from_uncompressed([int(size[0]) * int(size[1])], (int(size[0]), int(size[1]))))}"


def pack_mask(counts: bytes) -> str:
    """Pack COCO counts like the challenge: zlib, then base64."""
    return base64.b64encode(zlib.compress(counts, zlib.Z_BEST_COMPRESSION)).decode("ascii")


def unpack_mask(text: str, size: tuple[int, int]) -> bytes:
    """Unpack a mask to COCO counts; the ``b'…'`` that Python's str() leaves around bytes is stripped.

    Raises
    ------
    MaskError
        If it is not base64, not zlib, too large, or not a mask of this size.

    >>> unpack_mask("b'eNoLCAgIMAEABJkBdQ=='", (2048, 2048))
    b'PPPP4'
    """
    bare = text[2:-1] if text[:2] in ("b'", 'b"') else text
    try:
        inflater = zlib.decompressobj()
        counts = inflater.decompress(base64.b64decode(bare, validate=True), MAX_COUNTS_BYTES)
    except (binascii.Error, zlib.error) as exc:
        raise MaskError(f"'{bare[:16]}…' is not a packed mask: {exc}") from exc
    if not inflater.eof:
        raise MaskError(
            "a truncated packed mask" if not inflater.unconsumed_tail else "a packed mask that is too large"
        )
    Masks.of([counts], size).check()
    return counts


def read(path: Path, images: Mapping[str, Image] | None = None) -> Reading:
    """Read a submission; triples of one image that repeat a mask are one cell of several classes."""
    known = images or {}
    path = Path(path)
    with open_text(path) as stream:
        csv.field_size_limit(1 << 30)
        reader = csv.reader(stream)
        header = [name.strip() for name in next(reader, [])]
        ids = next((n for n in ("ID", "ImageID") if n in header), None)
        missing = {"ImageWidth", "ImageHeight", "PredictionString"} - set(header)
        if ids is None or missing:
            raise InputError(
                f"{path.name}: the columns are {', '.join(header) or 'missing'}; expected ID (or ImageID), ImageWidth, "
                "ImageHeight, PredictionString"
            )
        seen: set[str] = set()
        for cells in reader:
            if not cells:
                continue
            row = dict(zip(header, cells, strict=False))
            yield _sample(row[ids], row, known.get(row[ids]), reader.line_num, row[ids] in seen)
            seen.add(row[ids])
    return About(classes=CLASSES)


def _sample(image_id: str, row: Mapping[str, str], known: Image | None, line: int, again: bool) -> Sample:
    findings: list[Finding] = []
    if again:
        findings.append(Finding("image-listed-twice", f"line {line}: the image already has a row", "error", image_id))
    try:
        size = int(row.get("ImageHeight", "")), int(row.get("ImageWidth", ""))
    except ValueError:
        size = (0, 0)
    if min(size) < 1 and known is None:
        findings.append(
            Finding("invalid-size", f"line {line}: ImageWidth and ImageHeight are not sizes", "error", image_id)
        )
        return Sample(Image(image_id, 0, 0), Instances.empty((0, 0)), tuple(findings))
    if known and known.size != size:
        message = f"line {line}: {size[0]} × {size[1]} here, the image is {known.height} × {known.width}"
        findings.append(Finding("size-mismatch", message, "error", image_id))
        size = known.size
    text = row.get("PredictionString", "").strip()
    cells = _cells(text, size, image_id, line, findings) if text != empty_prediction(size) else Instances.empty(size)
    return Sample(known or Image(image_id, *size), cells, tuple(findings))


def _cells(text: str, size: tuple[int, int], image_id: str, line: int, findings: list[Finding]) -> Instances:
    tokens = text.split()
    if len(tokens) % _PAIR:
        message = f"line {line}: {len(tokens)} words; expected triples of class, confidence and mask"
        findings.append(Finding("invalid-segmentation", message, "error", image_id))
    masks: dict[str, tuple[bytes, list[str], list[float]]] = {}
    for k in range(0, len(tokens) - _PAIR + 1, _PAIR):
        try:
            name, score = _class_of(tokens[k]), _confidence(tokens[k + 1])
            counts = masks[tokens[k + 2]][0] if tokens[k + 2] in masks else unpack_mask(tokens[k + 2], size)
        except MaskError as exc:
            findings.append(
                Finding("invalid-segmentation", f"line {line}, triple {k // _PAIR + 1}: {exc}", "error", image_id)
            )
            continue
        _, names, scores = masks.setdefault(tokens[k + 2], (counts, [], []))
        names.append(name)
        scores.append(score)
    found = list(masks.values())
    several = any(len(names) > 1 for _, names, _ in found)
    columns: dict[str, Any] = {}
    if several:
        columns["class_names"] = [names if len(names) > 1 else None for _, names, _ in found]
        columns["class_scores"] = [scores if len(names) > 1 else None for _, names, scores in found]
    columns["class_name"] = [names[0] for _, names, _ in found]
    columns["score"] = [max(scores) for _, _, scores in found]
    return Instances.from_rle([c for c, _, _ in found], size, kind="cell", **columns)


def _class_of(text: str) -> str:
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= number < len(CLASSES):
        raise MaskError(f"class '{text}'; expected 0 to {len(CLASSES) - 1}")
    return CLASSES[number]


def _confidence(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise MaskError(f"confidence '{text[:20]}' is not a number")
    return value


def recognise(peek: Peek) -> Recognition | None:
    """Recognise a CSV with a column PredictionString."""
    if peek.is_file and "PredictionString" in peek.columns(peek.path.name):
        return Recognition(Strength.SIGNATURE, "a column PredictionString")
    return None


FORMAT = Format(
    name="hpa-submission",
    title="Human Protein Atlas 2021 submission",
    description=(
        "A CSV with one row per image: ID, ImageWidth, ImageHeight and PredictionString, triples of class, confidence "
        "and mask, which is base64 of zlib of compressed COCO run lengths "
        "(https://www.kaggle.com/competitions/hpa-single-cell-image-classification/overview/evaluation)."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(
        Option(
            "default_class",
            NEGATIVE,
            "class number for cells without a class of the challenge (18: Negative)",
            low=0,
            high=len(CLASSES) - 1,
        ),
        Option("id_column", "ID", "name of the first column", choices=("ID", "ImageID")),
        Option("like", None, "a CSV whose order of images is followed, for example the sample submission", type=Path),
    ),
    limits=Limits(kind="cell", class_name="Negative", score=1.0, classes=CLASSES),
    extensions=(".csv",),
)
