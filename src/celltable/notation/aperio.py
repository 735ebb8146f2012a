"""Read Aperio ImageScope XML: its regions, and the cells that they outline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

import numpy as np

from celltable.cells import Finding, Image, Instances
from celltable.errors import InputError
from celltable.geometry import polygon
from celltable.rules import rule

from .polygons import pack

rule(
    "negative-roa",
    "Regions marked as negative",
    "note",
    "NegativeROA marks a region to exclude, but published nuclei also carry it and are read as cells. Value: regions.",
    emitter="import aperio-xml, ingest kumar",
)


@dataclass(slots=True)
class Document:
    """The regions of an XML file, in document order."""

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


def parse(data: bytes, name: str) -> Document:
    """Parse a document; refuse entities and document types, which only an attack would need here.

    Raises
    ------
    InputError
    """

    def refuse(*_: Any) -> None:
        raise InputError(f"{name} declares a document type or entities; such XML is refused, nothing was read from it")

    found = Document()
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


def cells_of(found: Document, good: list[int], image: Image, findings: list[Finding]) -> Instances:
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
        findings.append(Finding("outside-image", message, "note", image.image_id, value=outside))
    if any(found.negative):
        n = sum(found.negative)
        message = f"{n:,} regions are marked NegativeROA; read as cells, like the published nuclei"
        findings.append(Finding("negative-roa", message, "note", image.image_id, value=n))
    return Instances(polygon.to_masks(rings, image.size), **columns)


def _inside(ring: list[float], size: tuple[int, int]) -> bool:
    points = np.asarray(ring).reshape(-1, 2)
    return bool((points >= 0).all() and (points <= (size[1], size[0])).all())
