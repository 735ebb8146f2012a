"""LabelMe JSON: one file per image, with polygons that a person can edit and masks for cells with holes."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError, MaskError
from celltable.geometry import rle
from celltable.imagefile import read_pixels
from celltable.notation.names import from_name, to_name
from celltable.notation.polygons import Part, Shapes, draw, outlines, pack, published
from celltable.notation.rows import Layout, Piece, numbers, rings, rows
from celltable.plugins.format import ConversionReport, Format, Limits, Recognition, Strength
from celltable.plugins.losses import GIVEN_CLASS, drop_empty, tally
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek, named, spread

from ._files import Files, open_files
from ._out import new_folder
from ._pixels import encode, encode_png, write_bytes

KEEPS: Final = frozenset(
    {
        *("overlap", "holes", "components", "ids", "classes", "crowd", "exact-mask", "polygons", "image-size"),
        *("empty-images", "pixels"),
    }
)
VERSION: Final = "5.4.1"  # version of the format, as LabelMe writes it
_FILE = re.compile(r"^(?:.*/)?([^/]+)\.json$", re.IGNORECASE)
POINTS: Final = Layout(
    *(b"", b"", b"", b"", b"", b"", b"[\n", b"\n   ]"),
    *(b"    [\n     ", b",\n     ", b"\n    ]", b",\n"),
)
_POLYGON: Final = b',\n   "shape_type": "polygon",\n   "mask": null'


def write(
    samples: Iterable[Sample], out: Path, *, default_label: str = "nucleus", overwrite: bool = False
) -> ConversionReport:
    """Write ``<id>.json`` beside ``<id>.png``: a polygon per part (joined by ``group_id``), or a mask for a hole."""
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            sample = drop_empty(report, sample)
            tally(report, sample, KEEPS)
            name = to_name(sample.image.image_id)
            picture = f"{name}.png"
            if sample.load_pixels is not None:
                data, ending = encode(sample.pixels())
                picture = f"{name}{ending}"
                write_bytes(folder / picture, data)
                report.written["files"] += 1
            write_bytes(folder / f"{name}.json", _document(sample, picture, report, default_label))
            report.written["files"] += 1
    return report


def _document(sample: Sample, picture: str, report: ConversionReport, default: str) -> bytes:
    """Format the JSON of one image, indented like LabelMe's own files."""
    head: dict[str, Any] = {"version": VERSION, "flags": {}, "shapes": [], "imagePath": picture, "imageData": None}
    head |= {"imageHeight": sample.image.height, "imageWidth": sample.image.width}
    frame = msgspec.json.format(msgspec.json.encode(head), indent=1)
    text = _shapes(sample.instances, report, default)
    return frame.replace(b'"shapes": []', b'"shapes": [\n%s\n ]' % text if text else b'"shapes": []', 1) + b"\n"


def _shapes(cells: Instances, report: ConversionReport, default: str) -> bytes:
    """Make one row per part of a cell, or one row with a mask for a cell with a hole."""
    n, names = len(cells), cells.column("class_name")
    report.add(GIVEN_CLASS, names.count(None))
    drawn = published(cells)
    given = drawn.parts > 0
    shapes = outlines(cells.rle, ~given)
    holed = shapes.holed
    shapes = shapes.only(~holed)
    of = np.repeat(np.arange(n), drawn.parts + shapes.parts + holed)  # the cell of each row
    flags = _flags(cells, given)
    marks: list[bytes | None] = [None] * n
    for k in np.flatnonzero(holed).tolist():
        marks[k] = _mask(cells.rle[k], cells.size)
    cell = of.tolist()
    pieces: list[Piece] = [
        (b'  {\n   "label": ', [default if names[k] is None else names[k] for k in cell], b",\n"),
        (b'   "group_id": ', numbers(cells.ids[of]), b',\n   "description": "",\n'),
        (b'   "flags": ', [flags[k] for k in cell], b""),
        *(
            (b',\n   "points": ', rings(s, POINTS), _POLYGON)
            for s in (_by_row(drawn, given[of]), _by_row(shapes, ~(given | holed)[of]))
        ),
        (b"", [marks[k] for k in cell], b""),
    ]
    return rows(len(of), [*pieces, b"\n  }"], b",\n")


def _by_row(shapes: Shapes, has_part: NDArray[np.bool_]) -> Shapes:
    """Spread the parts over rows of their own, leaving the other rows empty."""
    return replace(shapes, cell_first=np.concatenate([[0], np.cumsum(has_part)]))


def _flags(cells: Instances, given: NDArray[np.bool_]) -> list[bytes]:
    said = zip(cells.column("crowd"), cells.column("ignore"), given.tolist(), strict=True)
    return [_FLAGS[bool(crowd), bool(ignore), own] for crowd, ignore, own in said]


def _flag_text(*said: bool) -> bytes:
    names = [n for n, yes in zip(("crowd", "ignore", "published"), said, strict=True) if yes]
    return b"{\n" + b",\n".join(b'    "%s": true' % n.encode() for n in names) + b"\n   }" if names else b"{}"


_FLAGS: Final = {said: _flag_text(*said) for said in itertools.product((False, True), repeat=3)}


def _mask(counts: bytes, size: tuple[int, int]) -> bytes:
    mask = rle.decode(counts, size)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y1, y2, x1, x2 = int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])
    data = encode_png(mask[y1 : y2 + 1, x1 : x2 + 1].view(np.uint8) * np.uint8(255))
    points = (
        f"[\n    [\n     {x1},\n     {y1}\n    ],\n    [\n     {x2},\n     {y2}\n    ]\n   ]"  # both inside the mask
    )
    return (
        (f',\n   "points": {points},\n   "shape_type": "mask",\n   "mask": "').encode() + base64.b64encode(data) + b'"'
    )


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read LabelMe files; shapes that share a label and a ``group_id`` are one cell. Sizes come from the file."""
    with open_files(path, (".json",)) as files:
        found = {hit[1]: m for m in files.names if (hit := _FILE.match(m))}
        files.expect(found, "*.json of LabelMe")
        for name in sorted(found, key=from_name):
            yield _sample(files, from_name(name), found[name], images or {})


def _sample(files: Files, image_id: str, member: str, known: Mapping[str, Image]) -> Sample:
    findings: list[Finding] = []
    image = known.get(image_id)
    try:
        data = msgspec.json.decode(files.read(member))
        size = int(data["imageHeight"]), int(data["imageWidth"])
        shapes = list(data["shapes"])
        picture = str(data.get("imagePath") or "")
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        findings.append(
            Finding("unreadable-annotations", f"{member} is not a LabelMe file: {exc!r}", "error", image_id)
        )
        image = image or Image(image_id, 0, 0)
        return Sample(image, Instances.empty(image.size), tuple(findings))
    image = image or Image(image_id, *size)
    beside = f"{member.rpartition('/')[0]}/{picture}".lstrip("/")
    load = files.load(beside) if beside in files.entries else None
    if load is not None and not image.pixels:
        image = Image(image_id, *image.size, pixels=(files.where(beside),))
    return Sample(image, _cells(shapes, image, findings), tuple(findings), load)


def _cells(shapes: list[Any], image: Image, findings: list[Finding]) -> Instances:
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for k, shape in enumerate(shapes):
        if not isinstance(shape, dict):
            findings.append(
                Finding("invalid-segmentation", f"shape {k + 1} is not an object; left out", "error", image.image_id)
            )
            continue
        group = shape.get("group_id")
        groups.setdefault((shape.get("label"), group) if isinstance(group, int) else ("alone", k), []).append(shape)
    counts: list[bytes] = []
    columns: dict[str, list[Any]] = {n: [] for n in ("class_name", "polygon", "crowd", "ignore", "ids")}
    for members in groups.values():
        try:
            found, polygons = _draw(members, image.size)
        except InputError as exc:
            message = f"shape '{members[0].get('label')}': {exc}; left out"
            findings.append(Finding("invalid-segmentation", message, "error", image.image_id))
            continue
        flags = members[0].get("flags") if isinstance(members[0].get("flags"), dict) else {}
        counts.append(found)
        columns["class_name"].append(str(members[0].get("label")))
        columns["polygon"].append(polygons)
        columns["crowd"].append(bool(flags.get("crowd")))  # type: ignore[union-attr]
        columns["ignore"].append(bool(flags.get("ignore")))  # type: ignore[union-attr]
        columns["ids"].append(members[0].get("group_id"))
    ids = columns.pop("ids")
    used: dict[str, Any] = {n: v for n, v in columns.items() if any(v)}
    if ids and all(isinstance(i, int) and 0 < i < 2**31 for i in ids) and len(set(ids)) == len(ids):
        used["instance_id"] = np.array(ids, np.int32)
    return Instances.from_rle(counts, image.size, **used)


def _draw(shapes: list[Mapping[str, Any]], size: tuple[int, int]) -> tuple[bytes, bytes | None]:
    """Return the mask of one cell's shapes, and its polygons if it has only polygons."""
    rings, masks = [], []
    for shape in shapes:
        kind = shape.get("shape_type", "polygon")
        points = _points(shape)
        if kind == "mask":
            masks.append(_placed(shape, points, size))
        elif kind in ("polygon", "rectangle"):
            rings.append(points.ravel().tolist() if kind == "polygon" else _rectangle(points))
        else:
            raise InputError(f"a {kind}; expected polygon, rectangle or mask")
        if kind == "polygon" and len(points) < 3:
            raise InputError(f"a polygon of {len(points)} points; expected three or more")
    drawn = draw([Part(r) for r in rings], size) if rings else rle.encode(np.zeros(size, bool))
    for mask in masks:
        drawn = rle.encode(rle.decode(drawn, size) | mask)
    return drawn, pack(rings) if rings and not masks else None


def _points(shape: Mapping[str, Any]) -> NDArray[np.float64]:
    try:
        points = np.asarray(shape.get("points"), dtype=np.float64)
    except (TypeError, ValueError):
        points = np.zeros(0)
    if points.ndim != 2 or points.shape[1:] != (2,) or not np.isfinite(points).all():
        raise InputError("points is not a list of finite x, y")
    return points


def _rectangle(points: NDArray[np.float64]) -> list[float]:
    if len(points) != 2:
        raise InputError(f"a rectangle of {len(points)} points; expected two")
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def _placed(shape: Mapping[str, Any], points: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode a mask shape onto the canvas of the image."""
    try:
        crop = read_pixels(base64.b64decode(str(shape.get("mask")), validate=True), "mask.png") > 0
    except binascii.Error as exc:
        raise MaskError(f"a mask that is not base64: {exc}") from exc
    canvas = np.zeros(size, bool)
    x, y = (int(v) for v in points.min(axis=0))
    block = canvas[max(y, 0) : y + crop.shape[0], max(x, 0) : x + crop.shape[1]]
    if min(x, y) < 0 or block.shape != crop.shape[:2] or crop.ndim != 2:
        raise MaskError(f"a mask of {crop.shape[0]} × {crop.shape[1]} at x {x}, y {y} is outside the image")
    block[...] = crop
    return canvas


def recognise(peek: Peek) -> Recognition | None:
    """Recognise JSON files with ``shapes`` and the size or path of an image."""
    looked = [peek.outline(name) for name in spread(named(peek.names, ".json"), 3)]
    if looked and all("shapes" in o.members and {"imagePath", "imageHeight"} & set(o.members) for o in looked):
        return Recognition(Strength.SIGNATURE, "JSON with the keys shapes and imagePath of LabelMe")
    return None


FORMAT = Format(
    name="labelme",
    title="LabelMe",
    description=(
        "One JSON file beside each image, with a polygon per part, or a mask for a cell with a hole "
        "(https://github.com/wkentaro/labelme). Parts of one cell share a group_id."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(Option("default_label", "nucleus", "label for cells without a class"),),
    limits=Limits(class_name="nucleus"),
)
