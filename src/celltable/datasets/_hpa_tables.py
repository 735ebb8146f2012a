"""Read tables of image-level classes of the Human Protein Atlas, from the challenge and from the atlas."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from celltable.cells import Finding
from celltable.errors import InputError
from celltable.imagefile import Entry, Release
from celltable.notation.hpa import CLASSES, CLASSES_OF_2018, Labels, parse_labels
from celltable.rules import rule

rule(
    "label-differs",
    "Tables whose labels differ",
    "warning",
    "Two tables give an image different labels. The message says which were used.",
    emitter="ingest hpa_single_cell",
)
rule(
    "label-without-class",
    "Location that is not a class of the challenge",
    "warning",
    "A location of the atlas that the challenge leaves out; it is not among the labels.",
    emitter="ingest hpa_single_cell",
)

_IDS: Final = ("ID", "ImageID", "Id", "Image")  # train.csv; its older spelling; train.csv of 2018; kaggle_2021.tsv
_LABELS: Final = {"Label": CLASSES, "Target": CLASSES_OF_2018}  # column → what its numbers mean
_LOCATIONS: Final = ("Main location", "Additional location")  # of a gene, in subcellular_location.tsv
_CHANNEL: Final = re.compile(r"(?:_(?:red|green|blue|yellow))?(?:\.(?:png|jpe?g|tiff?)(?:\.gz)?)?$")


@dataclass(frozen=True, slots=True)
class Labelled:
    """The class numbers of one image in published order, and the rest of its row."""

    numbers: tuple[int, ...]
    cell_line: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def read_labels(release: Release, images: Container[str], findings: list[Finding]) -> dict[str, Labelled]:
    """Read the labels of every table of the release: ``train.csv``, the atlas's image list, a table of genes.

    The columns identify the type of table: ``ID,Label`` (class numbers or names), ``Id,Target`` (numbers of 2018),
    ``Image,Label`` (URLs of atlas images), or ``ID,Gene`` beside a ``subcellular_location.tsv``.
    """
    tables = [(entry, list(_rows(release, entry))) for entry, _ in release.match(r"[^/]+\.(?:csv|tsv)")]
    genes = {row[key]: _places(row) for _, rows in tables for row in rows if _is_gene(row) for key in _gene_keys(row)}
    labels: dict[str, Labelled] = {}
    for entry, rows in tables:
        name = entry.name.rpartition("/")[2]
        if name == "train.csv" and not rows:
            text = f"{entry.name} holds no labels; expected the columns ID and Label"
            findings.append(Finding("unreadable-table", text, "error"))
        for row in rows:
            image_id = _image_id(row, images)
            said = _said(row, genes)
            if image_id is None or said is None:
                continue
            if image_id in labels:
                text = f"{name} labels it twice; the first label was used"
                findings.append(Finding("image-listed-twice", text, "error", image_id))
                continue
            labels[image_id] = _labelled(row, *said, image_id, findings, image_id in images)
    return labels


def _rows(release: Release, entry: Entry) -> Iterator[dict[str, str]]:
    """Yield the rows of a table of labels or genes; other tables give none."""
    data = release.read(entry)
    head = data.partition(b"\n")[0].decode("utf-8-sig", "replace")
    delimiter = "\t" if "\t" in head else ","
    columns = {c.strip().strip('"') for c in head.split(delimiter)}
    if not columns & {*_LABELS, "Gene"} or not columns & {*_IDS, _LOCATIONS[0]}:
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InputError(f"{entry.name} is not UTF-8 text (byte {exc.start}). Is it the right file?") from exc
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter):
        yield {k.strip(): (v or "").strip() for k, v in row.items() if isinstance(k, str)}


def _is_gene(row: Mapping[str, str]) -> bool:
    return "Gene" in row and _LOCATIONS[0] in row and not any(c in row for c in _IDS)


def _gene_keys(row: Mapping[str, str]) -> list[str]:
    return [c for c in ("Gene", "Gene name") if row.get(c)]


def _places(row: Mapping[str, str]) -> str:
    return ";".join(row[c] for c in _LOCATIONS if row.get(c))


def _image_id(row: Mapping[str, str], images: Container[str]) -> str | None:
    """Return the image id of a row; for a URL, the file name, with its folder if the image ids have one."""
    address = next((row[c] for c in _IDS if row.get(c)), None)
    if address is None:
        return None
    *folders, name = _CHANNEL.sub("", address).split("/")
    longer = f"{folders[-1]}_{name}" if folders else name
    return longer if longer in images else name


def _said(row: Mapping[str, str], genes: Mapping[str, str]) -> tuple[str, tuple[str, ...]] | None:
    for column, numbered in _LABELS.items():
        if column in row:
            return row[column], numbered
    return None if row.get("Gene", "") not in genes else (genes[row["Gene"]], CLASSES)


def _labelled(
    row: Mapping[str, str], text: str, numbered: tuple[str, ...], image_id: str, findings: list[Finding], here: bool
) -> Labelled:
    labels = parse_labels(text, numbered)
    findings += _problems(labels, text, numbered, image_id, here)
    theirs = parse_labels(row.get("Label_idx", ""))
    if theirs.numbers and set(theirs.numbers) != set(labels.numbers):
        message = f"the locations '{text}' are classes {_ids(labels)}, its Label_idx says {_ids(theirs)}"
        findings.append(Finding("label-differs", message, "warning", image_id))
    metadata = {"label_ids": _ids(labels)}
    if not re.fullmatch(r"[\d|\s]*", text):
        metadata["locations"] = text
    if row.get("in_trainset"):
        metadata["in_trainset"] = row["in_trainset"]
    return Labelled(labels.numbers, row.get("Cellline") or None, metadata)


def _ids(labels: Labels) -> str:
    return "|".join(map(str, labels.numbers))


def _problems(labels: Labels, text: str, numbered: tuple[str, ...], image_id: str, here: bool) -> Iterator[Finding]:
    """Report labels that are not classes: names that the challenge leaves out, and nonsense."""
    if labels.unknown or not text:
        message = f"the label '{text}' does not consist of class numbers 0 to {len(numbered) - 1} or names joined by |"
        yield Finding("unknown-class", message, "error", image_id)
    if labels.without_class and here:
        message = f"the challenge does not have a class for {', '.join(labels.without_class)}; left out of the labels"
        yield Finding("label-without-class", message, "warning", image_id)
