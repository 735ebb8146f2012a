"""GeoJSON as read and written by QuPath: a FeatureCollection per image, a detection per cell."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.notation.names import from_name, to_name
from celltable.notation.polygons import Part, Ring, draw, outlines, pack, published
from celltable.notation.rows import Column, Layout, Piece, fields, numbers, rings, rows, said
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import drop_empty, tally
from celltable.plugins.options import Option
from celltable.plugins.peek import Outline, Peek, named, spread

from ._files import Files, open_files
from ._out import new_folder
from ._pixels import write_bytes

KEEPS: Final = frozenset(
    {
        *("overlap", "holes", "components", "ids", "classes", "multi-class", "scores", "crowd", "kind", "exact-mask"),
        *("polygons", "image-size", "empty-images"),
    }
)
_FILE = re.compile(r"^(?:.*/)?([^/]+)\.(?:geojson|json)$", re.IGNORECASE)
OWN: Final = {
    "kind": "nucleus",
    "parent": None,
    "score": None,
    "crowd": False,
    "ignore": False,
    "class_names": None,
    "class_scores": None,
}
GEOMETRY: Final = Layout(
    *(b'{"type":"Polygon","coordinates":', b"}"),
    *(b'{"type":"MultiPolygon","coordinates":[', b"]}"),
    *(b"[", b"]", b"[", b"]", b"[", b",", b"]"),
)


def write(
    samples: Iterable[Sample], out: Path, *, objects: str = "detection", overwrite: bool = False
) -> ConversionReport:
    """Write ``<id>.geojson`` per image; `objects` is QuPath's type: detection (light, many) or annotation (editable).

    Holes are inner rings, several parts a MultiPolygon. Sizes, ids and flags are under ``celltable``, which QuPath
    ignores.
    """
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            sample = drop_empty(report, sample)
            tally(report, sample, KEEPS)
            write_bytes(folder / f"{to_name(sample.image.image_id)}.geojson", _collection(sample, objects))
            report.written["files"] += 1
    return report


def _collection(sample: Sample, objects: str) -> bytes:
    cells = sample.instances
    drawn = published(cells)
    shapes = outlines(cells.rle, drawn.parts == 0, simple=True)
    own: list[tuple[str, Column | None]] = [(name, said(cells, name, plain)) for name, plain in OWN.items()]
    own.append(("published", [True if n else None for n in drawn.parts.tolist()] if drawn.parts.any() else None))
    pieces: list[Piece] = [b'{"type":"Feature","geometry":']
    pieces += [(b"", rings(s, GEOMETRY, closed=True), b"") for s in (drawn, shapes) if s.parts.any()]
    pieces += [b',"properties":{"objectType":"%s","isLocked":false' % objects.encode(), *_classification(cells)]
    score = dict(own)["score"]
    if score is not None:
        pieces.append((b',"measurements":{"score":', score, b"}"))
    pieces += [(b',"celltable":{"id":', numbers(cells.ids), b""), *fields(own), b"}}}"]
    size = {"image_id": sample.image.image_id, "height": sample.image.height, "width": sample.image.width}
    head = b'{"type":"FeatureCollection","celltable":%s,"features":[' % msgspec.json.encode(size)
    return head + rows(len(cells), pieces) + b"]}\n"


def _classification(cells: Instances) -> list[Piece]:
    if cells.class_name is None:
        return []
    if isinstance(cells.class_name, str):
        return [b',"classification":' + _class(cells.class_name)]
    names = cells.column("class_name")
    known = {n: _class(n) for n in dict.fromkeys(names) if n is not None}
    return [(b',"classification":', [known.get(n) for n in names], b"")]


def _class(name: str) -> bytes:
    return msgspec.json.encode({"name": name, "color": colour_of(name)})


def colour_of(name: str) -> list[int]:
    """Choose a colour for a class from its name alone: three numbers from 0 to 255.

    >>> colour_of("Neoplastic") == colour_of("Neoplastic") != colour_of("Dead")
    True
    """
    mixed = zlib.crc32(name.encode())
    return [64 + (mixed >> shift & 0xFF) * 3 // 4 for shift in (0, 8, 16)]


def read(path: Path, images: Mapping[str, Image] | None = None) -> Iterator[Sample]:
    """Read QuPath's GeoJSON files; sizes come from the file if celltable wrote it, else from the known `images`."""
    with open_files(path, (".geojson", ".json")) as files:
        found = {hit[1]: m for m in files.names if (hit := _FILE.match(m))}
        files.expect(found, "*.geojson")
        for name in sorted(found, key=from_name):
            yield _sample(files, from_name(name), found[name], images or {})


def _sample(files: Files, image_id: str, member: str, known: Mapping[str, Image]) -> Sample:
    findings: list[Finding] = []
    image = known.get(image_id) or Image(image_id, 0, 0)
    try:
        data = msgspec.json.decode(files.read(member))
        features = data["features"] if isinstance(data, dict) else data
        size = data.get("celltable", {}) if isinstance(data, dict) else {}
        if not isinstance(features, list):
            raise TypeError("features is not a list")
    except (msgspec.DecodeError, KeyError, TypeError, RecursionError) as exc:
        findings.append(
            Finding("unreadable-annotations", f"{member} is not a FeatureCollection: {exc}", "error", image_id)
        )
        return Sample(image, Instances.empty(image.size), tuple(findings))
    if image_id not in known and isinstance(size, dict) and {"height", "width"} <= set(size):
        image = Image(image_id, int(size["height"]), int(size["width"]))
    if features and not min(image.size):
        message = f"{member} does not state the image size and the image is not known; its cells were left out"
        findings.append(Finding("missing-image", message, "error", image_id))
        features = []
    return Sample(image, _cells(features, image, findings), tuple(findings))


def _cells(features: list[Any], image: Image, findings: list[Finding]) -> Instances:
    counts: list[bytes] = []
    polygons: list[bytes | None] = []
    said: list[tuple[Mapping[str, Any], str | None]] = []
    for k, feature in enumerate(features, 1):
        try:
            parts = _parts(feature["geometry"])
            properties = feature.get("properties") or {}
            own = properties.get("celltable") or {}
            counts.append(draw(parts, image.size))
            name = (properties.get("classification") or {}).get("name")
        except (InputError, KeyError, TypeError, AttributeError, ValueError) as exc:
            message = f"feature {k}: {exc if isinstance(exc, InputError) else 'not a GeoJSON feature'}; left out"
            findings.append(Finding("invalid-segmentation", message, "error", image.image_id))
            continue
        holed = any(p.holes for p in parts)
        polygons.append(pack([p.outer for p in parts]) if not holed and (own.get("published") or not own) else None)
        measured = properties.get("measurements")
        score = measured.get("score") if isinstance(measured, dict) else None
        said.append(({"score": score, **own}, name if isinstance(name, str) else None))
    columns: dict[str, Any] = {n: [s.get(n, plain) for s, _ in said] for n, plain in OWN.items()}
    columns = {n: v for n, v in columns.items() if any(x != OWN[n] for x in v)}
    if any(name for _, name in said):
        columns["class_name"] = [name for _, name in said]
    if any(p is not None for p in polygons):
        columns["polygon"] = polygons
    ids = [s.get("id") for s, _ in said]
    if ids and all(isinstance(i, int) and 0 <= i < 2**31 for i in ids) and len(set(ids)) == len(ids):
        columns["instance_id"] = np.array(ids, np.int32)
    return Instances.from_rle(counts, image.size, **columns)


def _parts(geometry: Mapping[str, Any]) -> list[Part]:
    kind = geometry["type"]
    if kind not in ("Polygon", "MultiPolygon"):
        raise InputError(f"a {kind}; expected Polygon or MultiPolygon")
    polygons = [geometry["coordinates"]] if kind == "Polygon" else geometry["coordinates"]
    found = []
    for outer_and_holes in polygons:
        flat = [_ring(r) for r in outer_and_holes]
        found.append(Part(flat[0], tuple(flat[1:])))
    if not found:
        raise InputError("no ring")
    return found


def _ring(points: list[list[float]]) -> Ring:
    if len(points) > 1 and points[0] == points[-1]:
        points = points[:-1]
    flat = [float(v) for p in points for v in p[:2]]
    if len(flat) < 6 or not np.isfinite(flat).all():
        raise InputError(f"a ring of {len(points)} points; expected three or more, all finite")
    return flat


def recognise(peek: Peek) -> Recognition | None:
    """Recognise files that hold a FeatureCollection or a list of features."""
    documents = named(peek.names, ".geojson", ".json")
    looked = [peek.outline(name) for name in spread(documents, 3)]
    if looked and all(_is_collection(outline) for outline in looked):
        return Recognition(Strength.SIGNATURE, "JSON whose type is FeatureCollection")
    return None


def _is_collection(outline: Outline) -> bool:
    if outline.top == "[":
        return outline.members.get("type") == "Feature"
    return outline.members.get("type") == "FeatureCollection" or "features" in outline.members


FORMAT = Format(
    name="geojson",
    title="GeoJSON (QuPath)",
    description=(
        "One FeatureCollection per image, a detection or annotation per cell with its classification, holes as inner "
        "rings and several parts as MultiPolygon "
        "(https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html)."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(
        Option("objects", "detection", "type of the objects in QuPath", choices=("detection", "annotation")),
    ),
)
