"""Aperio ImageScope XML: one file an image, a region a cell, as MoNuSeg and Kumar publish their nuclei."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.geometry import polygon
from celltable.plugins.format import Format, Loss

from ._files import Files, image_of, open_files
from ._loss import HOLES, PARTS, drop_empty, tally
from ._out import from_name, new_folder, to_name
from ._pixels import encode_tiff, write_bytes
from ._polygons import Shapes, outlines, pack, published
from ._rows import Layout, Piece, numbers, rings, rows

KEEPS: Final = frozenset(
    {"overlap", "ids", "classes", "exact-mask", "polygons", "empty-images", "image-size", "pixels"}
)
_FILE = re.compile(r"^(?:.*/)?([^/]+)\.(xml|tiff?|png)$", re.IGNORECASE)
_COLOURS = (65280, 255, 16711680, 65535, 16776960, 16711935)  # of annotations, as BGR numbers
_CLOSING: Final = b"  </Regions>\n </Annotation>\n"
VERTICES: Final = Layout(point=b'<Vertex X="', between=b'" Y="', point_end=b'"/>', next_point=b"")


def write(samples: Iterable[Sample], out: Path, *, overwrite: bool = False) -> Loss:
    """Write ``Annotations/<id>.xml`` and ``Tissue Images/<id>.tif``; an ``Annotation`` a class, named by it.

    The published polygon is written as it is; other cells as the outline of their largest part, holes filled (a
    NegativeROA region, which would be a hole, is a nucleus in the published data).
    """
    loss = Loss()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            sample = drop_empty(loss, sample)
            keeps = KEEPS - {"image-size"} if sample.load_pixels is None else KEEPS
            tally(loss, sample, keeps, ("pixel_size_um",))
            name = to_name(sample.image.image_id)
            if sample.load_pixels is not None:
                write_bytes(folder / "Tissue Images" / f"{name}.tif", encode_tiff(sample.pixels()))
                loss.written["files"] += 1
            write_bytes(folder / "Annotations" / f"{name}.xml", _xml(loss, sample))
            loss.written["files"] += 1
    return loss


def _xml(loss: Loss, sample: Sample) -> bytes:
    cells, scale = sample.instances, sample.image.pixel_size_um
    names = cells.column("class_name")
    found = {name: number for number, name in enumerate(dict.fromkeys(names))}
    order = np.argsort([found[n] for n in names], kind="stable") if len(found) > 1 else np.arange(len(names))
    cells = cells.take(order) if len(found) > 1 else cells
    heads: list[bytes | None] = [None] * len(names)
    for name, number in found.items():
        first = names.index(name) if len(found) == 1 else [names[k] for k in order.tolist()].index(name)
        heads[first] = (_CLOSING if number else b"") + _annotation(number, name)
    pieces: list[Piece] = [(b"", heads, b""), (b'   <Region Id="', numbers(cells.ids), b'" Type="0"')]
    pieces += [(b' Area="', numbers(cells.area), b'" NegativeROA="0" Analyze="1"><Vertices>')]
    pieces += [(b"", rings(s, VERTICES, numbers="brief"), b"") for s in _rings(loss, cells)]
    text = rows(len(cells), [*pieces, b"</Vertices></Region>\n"], b"")
    root = f"<Annotations{'' if scale is None else f' MicronsPerPixel={quoteattr(repr(scale))}'}>\n".encode()
    return root + text + (_CLOSING if found else b"") + b"</Annotations>\n"


def _annotation(number: int, name: str | None) -> bytes:
    colour = _COLOURS[number % len(_COLOURS)]
    attributes = f'Name={quoteattr(name or "")} ReadOnly="0" Type="4" LineColor="{colour}" Visible="1"'
    return f' <Annotation Id="{number + 1}" {attributes}>\n  <Regions>\n'.encode()


def _rings(loss: Loss, cells: Instances) -> tuple[Shapes, Shapes]:
    """Published polygons of one ring, and the outlines of the other cells' largest part."""
    drawn = published(cells)
    single = drawn.parts == 1
    shapes = outlines(cells.rle, cells.size, ~single)
    loss.add(PARTS, int(np.count_nonzero(shapes.parts > 1)))
    loss.add(HOLES, int(np.count_nonzero(shapes.first_holed)))
    return drawn.only(single), shapes.largest()


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read XML files and the images of the same names, in folders or flat; documents with a DOCTYPE are refused."""
    with open_files(path, (".xml",)) as files:
        documents: dict[str, str] = {}
        pictures: dict[str, str] = {}
        for member in files.names:
            if hit := _FILE.match(member):
                (documents if hit[2].lower() == "xml" else pictures)[hit[1]] = member
        files.expect(documents, "*.xml (and images of the same names)")
        for name in sorted(documents, key=from_name):
            yield _sample(files, from_name(name), documents[name], pictures.get(name), images or {})


@dataclass(slots=True)
class _Document:
    """What an XML file says: its regions in the order of the document."""

    scale: float | None = None
    name: str | None = None
    ids: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)
    areas: list[float | None] = field(default_factory=list)
    negative: list[bool] = field(default_factory=list)
    rings: list[list[float]] = field(default_factory=list)
    root: str = ""

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.root = self.root or tag
        if tag == "Annotations":
            self.scale = _number(attributes.get("MicronsPerPixel")) or None
        elif tag == "Annotation":
            self.name = attributes.get("Name") or None
        elif tag == "Region":
            self.ids.append(attributes.get("Id", ""))
            self.names.append(self.name)
            self.areas.append(_number(attributes.get("Area")))
            self.negative.append(attributes.get("NegativeROA") == "1")
            self.rings.append([])
        elif tag == "Vertex" and self.rings:
            for axis in ("X", "Y"):
                value = _number(attributes.get(axis))
                self.rings[-1].append(float("nan") if value is None else value)


def parse(data: bytes, name: str) -> _Document:
    """Parse a document; entities and document types, which only an attack needs here, are refused.

    Raises
    ------
    InputError
    """

    def refuse(*_: Any) -> None:
        raise InputError(f"{name} declares a document type or entities; such XML is refused, nothing was read from it")

    found = _Document()
    parser = expat.ParserCreate()
    parser.StartElementHandler = found.start
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as exc:
        raise InputError(f"{name} is not valid XML: {exc}") from exc
    if found.root != "Annotations":
        raise InputError(f"{name}: the root is <{found.root}>; expected <Annotations> of Aperio ImageScope")
    return found


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _sample(files: Files, image_id: str, member: str, picture: str | None, known: Mapping[str, Image]) -> Sample:
    findings: list[Finding] = []
    image, load = image_of(files, image_id, picture, known, None, findings)
    try:
        found = parse(files.read(member), member)
    except InputError as exc:
        findings.append(Finding("xml-invalid", str(exc), "error", image_id))
        return Sample(image, Instances.empty(image.size), tuple(findings), load)
    if image_id not in known and found.scale:
        image = Image(image_id, *image.size, pixels=image.pixels, dtype=image.dtype, pixel_size_um=found.scale)
    good = []
    for k, ring in enumerate(found.rings):
        if len(ring) >= 6 and np.isfinite(ring).all():
            good.append(k)
        else:
            what = f"{len(ring) // 2} vertices" if np.isfinite(ring).all() else "a vertex without numbers"
            findings.append(Finding("region-invalid", f"region {found.ids[k]}: {what}; left out", "error", image_id))
    if good and not min(image.size):
        message = "the size of the image is not known: its file is missing; its regions were left out"
        findings.append(Finding("unknown-image", message, "error", image_id))
        good = []
    cells = _cells(found, good, image, findings)
    return Sample(image, cells, tuple(findings), load)


def _cells(found: _Document, good: list[int], image: Image, findings: list[Finding]) -> Instances:
    rings = [[found.rings[k]] for k in good]
    columns: dict[str, Any] = {"source_id": [found.ids[k] for k in good]}
    if rings:
        columns["polygon"] = [pack(r) for r in rings]
    if any(found.names[k] for k in good):
        columns["class_name"] = [found.names[k] for k in good]
    numbers = [int(found.ids[k]) if found.ids[k].isdecimal() and found.ids[k].isascii() else 0 for k in good]
    if len(set(numbers)) == len(numbers) and all(0 < n < 2**31 for n in numbers):
        columns["instance_id"] = np.array(numbers, np.int32)
    outside = sum(not _inside(r[0], image.size) for r in rings)
    if outside:
        message = f"{outside:,} regions have vertices outside the image; clipped when drawn"
        findings.append(Finding("vertex-outside", message, "note", image.image_id, value=outside))
    if any(found.negative):
        n = sum(found.negative)
        message = f"{n:,} regions are marked NegativeROA; read as cells, as the published nuclei are"
        findings.append(Finding("negative-roa", message, "note", image.image_id, value=n))
    return Instances.from_rle(polygon.many_to_rle(rings, image.size) if rings else [], image.size, **columns)


def _inside(ring: list[float], size: tuple[int, int]) -> bool:
    points = np.asarray(ring).reshape(-1, 2)
    return bool((points >= 0).all() and (points <= (size[1], size[0])).all())


FORMAT = Format(
    name="aperio-xml",
    title="Aperio ImageScope XML",
    description=(
        "Annotations/<id>.xml with a Region of vertices a cell and Tissue Images/<id>.tif, as Kumar and MoNuSeg "
        "publish their nuclei. One ring a cell: no holes, one part."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    options={"overwrite": "replace an existing folder"},
)
