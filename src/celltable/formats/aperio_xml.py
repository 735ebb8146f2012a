"""Aperio ImageScope XML: one file per image, one region per cell, as MoNuSeg and Kumar publish their nuclei."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

import numpy as np

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.notation.aperio import cells_of, parse
from celltable.notation.names import from_name, to_name
from celltable.notation.polygons import Shapes, outlines, published
from celltable.notation.rows import Layout, Piece, numbers, rings, rows
from celltable.plugins.format import ConversionReport, Format, Limits, Recognition, Strength
from celltable.plugins.losses import HOLES, PARTS, drop_empty, tally
from celltable.plugins.peek import Peek, named, spread

from ._files import Files, image_of, open_files
from ._out import new_folder
from ._pixels import encode_tiff, write_bytes

KEEPS: Final = frozenset(
    {"overlap", "ids", "classes", "exact-mask", "polygons", "empty-images", "image-size", "pixels"}
)
_FILE = re.compile(r"^(?:.*/)?([^/]+)\.(xml|tiff?|png)$", re.IGNORECASE)
_COLOURS = (65280, 255, 16711680, 65535, 16776960, 16711935)  # line colours of annotations, as BGR numbers
_CLOSING: Final = b"  </Regions>\n </Annotation>\n"
VERTICES: Final = Layout(point=b'<Vertex X="', between=b'" Y="', point_end=b'"/>', next_point=b"")


def write(samples: Iterable[Sample], out: Path, *, overwrite: bool = False) -> ConversionReport:
    """Write ``Annotations/<id>.xml`` and ``Tissue Images/<id>.tif``; an ``Annotation`` per class, named after it.

    Published polygons are written unchanged; other cells as the outline of their largest part, holes filled (a
    NegativeROA region, which should be a hole, is a nucleus in the published data).
    """
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            sample = drop_empty(report, sample)
            keeps = KEEPS - {"image-size"} if sample.load_pixels is None else KEEPS
            tally(report, sample, keeps, ("pixel_size_um",))
            name = to_name(sample.image.image_id)
            if sample.load_pixels is not None:
                write_bytes(folder / "Tissue Images" / f"{name}.tif", encode_tiff(sample.pixels()))
                report.written["files"] += 1
            write_bytes(folder / "Annotations" / f"{name}.xml", _xml(report, sample))
            report.written["files"] += 1
    return report


def _xml(report: ConversionReport, sample: Sample) -> bytes:
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
    pieces += [(b"", rings(s, VERTICES, numbers="brief"), b"") for s in _rings(report, cells)]
    text = rows(len(cells), [*pieces, b"</Vertices></Region>\n"], b"")
    root = f"<Annotations{'' if scale is None else f' MicronsPerPixel={quoteattr(repr(scale))}'}>\n".encode()
    return root + text + (_CLOSING if found else b"") + b"</Annotations>\n"


def _annotation(number: int, name: str | None) -> bytes:
    colour = _COLOURS[number % len(_COLOURS)]
    attributes = f'Name={quoteattr(name or "")} ReadOnly="0" Type="4" LineColor="{colour}" Visible="1"'
    return f' <Annotation Id="{number + 1}" {attributes}>\n  <Regions>\n'.encode()


def _rings(report: ConversionReport, cells: Instances) -> tuple[Shapes, Shapes]:
    """Take published polygons of one ring, and outline the largest part of the other cells."""
    drawn = published(cells)
    single = drawn.parts == 1
    shapes = outlines(cells.rle, ~single)
    report.add(PARTS, int(np.count_nonzero(shapes.parts > 1)))
    report.add(HOLES, int(np.count_nonzero(shapes.first_holed)))
    return drawn.only(single), shapes.largest()


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read XML files and images of the same names, in folders or not; documents with a DOCTYPE are refused."""
    with open_files(path, (".xml",)) as files:
        documents: dict[str, str] = {}
        pictures: dict[str, str] = {}
        for member in files.names:
            if hit := _FILE.match(member):
                (documents if hit[2].lower() == "xml" else pictures)[hit[1]] = member
        files.expect(documents, "*.xml (and images of the same names)")
        for name in sorted(documents, key=from_name):
            yield _sample(files, from_name(name), documents[name], pictures.get(name), images or {})


def _sample(files: Files, image_id: str, member: str, picture: str | None, known: Mapping[str, Image]) -> Sample:
    findings: list[Finding] = []
    image, load = image_of(files, image_id, picture, known, None, findings)
    try:
        found = parse(files.read(member), member)
    except InputError as exc:
        findings.append(Finding("unreadable-annotations", str(exc), "error", image_id))
        return Sample(image, Instances.empty(image.size), tuple(findings), load)
    if image_id not in known and found.scale:
        image = Image(image_id, *image.size, pixels=image.pixels, dtype=image.dtype, pixel_size_um=found.scale)
    good = []
    for k, ring in enumerate(found.rings):
        if len(ring) >= 6 and np.isfinite(ring).all():
            good.append(k)
        else:
            what = f"{len(ring) // 2} vertices" if np.isfinite(ring).all() else "a vertex without numbers"
            findings.append(
                Finding("invalid-segmentation", f"region {found.ids[k]}: {what}; left out", "error", image_id)
            )
    if good and not min(image.size):
        if not any(f.rule == "unreadable-image" for f in findings):
            message = "the size of the image is unknown because its file is missing; its regions were left out"
            findings.append(Finding("missing-image", message, "error", image_id))
        good = []
    cells = cells_of(found, good, image, findings)
    return Sample(image, cells, tuple(findings), load)


def recognise(peek: Peek) -> Recognition | None:
    """Recognise XML whose root is ``<Annotations>`` with ImageScope regions."""
    documents = named(peek.names, ".xml")
    if any(b"<Annotations" in peek.head(name, 4096) for name in spread(documents, 3)):
        return Recognition(Strength.SIGNATURE, "XML with the root <Annotations> of ImageScope")
    return None


FORMAT = Format(
    name="aperio-xml",
    title="Aperio ImageScope XML",
    description=(
        "Annotations/<id>.xml with a Region of vertices per cell and Tissue Images/<id>.tif, as Kumar and MoNuSeg "
        "publish their nuclei. One ring per cell: no holes, one part."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    limits=Limits(one_part=True),
)
