"""YOLO segmentation: a text file per image, a line per cell with class and polygon in fractions of the image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.geometry import polygon
from celltable.notation.names import from_name, to_name
from celltable.notation.polygons import Shapes, outlines, published
from celltable.notation.rows import Layout, Piece, rings, rows
from celltable.plugins.format import About, ConversionReport, Format, Limits, Reading, Recognition, Strength
from celltable.plugins.losses import GIVEN_CLASS, HOLES, PARTS, drop_empty, tally
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek, spread

from ._files import Files, image_of, open_files, pictures_and_labels
from ._out import new_folder
from ._pixels import encode, write_bytes

KEEPS: Final = frozenset({"overlap", "classes", "scores", "exact-mask", "empty-images", "image-size", "pixels"})
DECIMALS: Final = 4  # of a pixel, as restored when read
LINE: Final = Layout(between=b" ", next_point=b" ")
SPLITS: Final = {"train": "train", "val": "val", "valid": "val", "test": "test"}
_FILE = re.compile(r"^(?:.*/)?(images|labels)/(?:.*/)?([^/]+)\.(txt|png|tiff?|jpe?g|bmp)$", re.IGNORECASE)


def write(
    samples: Iterable[Sample], out: Path, *, default_class: str = "nucleus", overwrite: bool = False
) -> ConversionReport:
    """Write ``images/<split>/<id>.png``, ``labels/<split>/<id>.txt`` and ``data.yaml`` with the class names.

    A line holds one ring: only the largest part of a cell is kept and holes are filled, and both are counted. The split
    is that of the image, or ``train`` without one. Scores follow the polygon, like those written by ``save_conf``.
    """
    report = ConversionReport()
    classes: dict[str, int] = {}
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            sample = drop_empty(report, sample)
            split = SPLITS.get(sample.image.split or "train", "train")
            no_size = sample.load_pixels is None
            kept = ("split",) if SPLITS.get(sample.image.split or "") == sample.image.split else ()
            tally(report, sample, KEEPS - {"image-size"} if no_size else KEEPS, kept)
            name = to_name(sample.image.image_id)
            if sample.load_pixels is not None:
                data, ending = encode(sample.pixels())
                write_bytes(folder / "images" / split / f"{name}{ending}", data)
                report.written["files"] += 1
            lines = _lines(report, sample.instances, classes, default_class)
            write_bytes(folder / "labels" / split / f"{name}.txt", lines)
            report.written["files"] += 1
        write_bytes(folder / "data.yaml", _yaml(classes, folder).encode())
    return report


def _lines(report: ConversionReport, cells: Instances, classes: dict[str, int], default: str) -> bytes:
    names, (height, width) = cells.column("class_name"), cells.size
    report.add(GIVEN_CLASS, names.count(None))
    found = {n: classes.setdefault(default if n is None else n, len(classes)) for n in dict.fromkeys(names)}
    pieces: list[Piece] = [(b"", np.array([found[n] for n in names], np.int64), b" ")]
    pieces += [(b"", rings(s, LINE, numbers="fraction", unit=(width, height)), b"") for s in _rings(report, cells)]
    scores = [None if s is None else repr(float(s)).encode() for s in cells.column("score")]
    return rows(len(cells), [*pieces, (b" ", scores, b""), b"\n"], b"")


def _rings(report: ConversionReport, cells: Instances) -> tuple[Shapes, Shapes]:
    """Take published polygons of one ring that survive rounding, and outline the largest part of the other cells.

    Polygons that leave the image are also outlined, since Ultralytics refuses a whole file for one fraction above 1.
    """
    drawn = published(cells)
    single = drawn.parts == 1
    drawn = drawn.only(single)
    exact = np.round(drawn.xy, DECIMALS) == drawn.xy
    exact &= (drawn.xy >= 0) & (drawn.xy <= np.resize(cells.size[::-1], drawn.xy.size))
    points = drawn.ring_first[drawn.cell_first] * 2
    wrong = np.diff(np.concatenate([[0], np.cumsum(~exact)])[points])
    single &= wrong == 0
    shapes = outlines(cells.rle, ~single)
    report.add(PARTS, int(np.count_nonzero(shapes.parts > 1)))
    report.add(HOLES, int(np.count_nonzero(shapes.first_holed)))
    return drawn.only(single), shapes.largest()


def _yaml(classes: Mapping[str, int], folder: Path) -> str:
    found = [split for split in ("train", "val", "test") if (folder / "labels" / split).exists()]
    lines = [f"{split}: images/{split}" for split in found]
    if found and not {"train", "val"} <= set(found):
        instead = next(s for s in ("train", "val", "test") if s in found)
        lines.append(f"# Ultralytics requires train and val: images of {instead} replace a missing split")
        lines += [f"{split}: images/{instead}" for split in ("train", "val") if split not in found]
    lines.append("names:")
    lines += [f"  {k}: {_quote(name)}" for name, k in classes.items()]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''").replace("\n", " ") + "'"


def read(path: Path, images: Mapping[str, Image] | None = None) -> Reading:
    """Read a folder or zip of this layout; an image without a text file has no cells, as in YOLO."""
    with open_files(path) as files:
        pictures, labels = pictures_and_labels(files, _FILE, "txt")
        files.expect(labels, "labels/*.txt and images/*.png")
        names = _class_names(files)
        for name in sorted(set(pictures) | set(labels), key=from_name):
            members = pictures.get(name), labels.get(name)
            yield _sample(files, from_name(name), members, names, images or {})
        return About(classes=tuple(names[k] for k in sorted(names)))


def _class_names(files: Files) -> dict[int, str]:
    """Read the names of data.yaml: ``names:`` as a block of ``0: name`` or ``- name``, or as ``[a, b]`` on one line."""
    member = next((m for m in files.names if m.rpartition("/")[2] in ("data.yaml", "dataset.yaml")), None)
    lines = files.read(member).decode("utf-8", "replace").splitlines() if member else []
    start = next((k for k, line in enumerate(lines) if line.startswith("names:")), len(lines))
    inline = lines[start][6:].strip().strip("[]") if start < len(lines) else ""
    if inline:
        return {k: _unquote(v) for k, v in enumerate(inline.split(","))}
    names: dict[int, str] = {}
    for line in lines[start + 1 :]:
        hit = re.match(r"\s*(?:-|(\d+)\s*:)\s*(.+?)\s*$", line)
        if not hit:
            break
        names[int(hit[1]) if hit[1] else len(names)] = _unquote(hit[2])
    return names


def _unquote(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return text.strip('"')


def _sample(
    files: Files,
    image_id: str,
    members: tuple[str | None, str | None],
    names: Mapping[int, str],
    known: Mapping[str, Image],
) -> Sample:
    picture, label = members
    findings: list[Finding] = []
    image, load = image_of(files, image_id, picture, known, None, findings)
    rings: list[list[list[float]]] = []
    columns: dict[str, list[Any]] = {"class_name": [], "score": []}
    lines = files.read(label).decode("utf-8-sig", "replace").splitlines() if label else []
    if lines and not min(image.size):
        if not any(f.rule == "unreadable-image" for f in findings):
            message = "the size of the image is unknown because its file is missing; its lines were left out"
            findings.append(Finding("missing-image", message, "error", image_id))
        lines = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            name, ring, score = _parse(line, image.size, names)
        except InputError as exc:
            findings.append(Finding("invalid-segmentation", f"line {number}: {exc}", "error", image_id))
            continue
        rings.append([ring])
        columns["class_name"].append(name)
        columns["score"].append(score)
    if not any(s is not None for s in columns["score"]):
        del columns["score"]
    masks = polygon.to_masks(rings, image.size)
    split = label.split("/")[-2] if label and "/" in label else ""
    if image_id not in known and SPLITS.get(split):
        image = Image(image.image_id, *image.size, pixels=image.pixels, dtype=image.dtype, split=SPLITS[split])
    return Sample(image, Instances(masks, **columns), tuple(findings), load)


def _parse(line: str, size: tuple[int, int], names: Mapping[int, str]) -> tuple[str, list[float], float | None]:
    words = line.split()
    try:
        number, values = int(words[0]), [float(w) for w in words[1:]]
    except ValueError:
        raise InputError(f"'{line[:40]}' is not a class number and coordinates") from None
    score = values.pop() if len(values) % 2 else None
    if len(values) == 4:
        raise InputError("four numbers are a box, not a polygon: this is a detection file")
    if len(values) < 6 or not np.isfinite(values).all():
        raise InputError(f"{len(values)} coordinates; expected three points or more, all finite")
    ring = [round(v * size[1 - k % 2], DECIMALS) for k, v in enumerate(values)]
    return names.get(number, str(number)), ring, score


def recognise(peek: Peek) -> Recognition | None:
    """Recognise text files in a folder labels whose lines are a class number and a polygon in fractions."""
    labels = [hit[0] for hit in peek.matches(_FILE) if hit[1].lower() == "labels" and hit[3].lower() == "txt"]
    lines = [line for name in spread(labels, 8) for line in peek.text(name).splitlines()[:20] if line.strip()]
    if labels and all(_is_polygon(line) for line in lines):
        return Recognition(Strength.LAYOUT, "text files of polygons in a folder labels")
    return None


def _is_polygon(line: str) -> bool:
    """Whether a line is a class number and at least three points given as fractions."""
    try:
        number, *values = map(float, line.split())
    except ValueError:
        return False
    return number >= 0 and number == int(number) and len(values) >= 6 and all(-1 < v < 2 for v in values[:6])


FORMAT = Format(
    name="yolo-seg",
    title="YOLO segmentation",
    description=(
        "images/<split>/*.png, labels/<split>/*.txt with a line per cell (class, then x and y as fractions of the "
        "image) and data.yaml (https://docs.ultralytics.com/datasets/segment/). One ring per cell: no holes, one part."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(Option("default_class", "nucleus", "class for cells without one"),),
    limits=Limits(class_name="nucleus", one_part=True),
)
