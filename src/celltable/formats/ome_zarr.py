"""OME-Zarr with labels: one image group per image, with its cells as a label image with properties."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.notation.names import from_name, to_name
from celltable.plugins.format import ConversionReport, Format, Recognition, Strength
from celltable.plugins.losses import POLICY, flatten
from celltable.plugins.options import Option
from celltable.plugins.peek import Peek

from ._files import Files, image_of, open_files
from ._labels import cells_of
from ._out import new_folder
from ._pixels import write_bytes
from ._zarr import CHUNK, read_array, to_json, write_array

KEEPS: Final = frozenset(
    {
        *("holes", "components", "ids", "classes", "multi-class", "scores", "crowd", "kind", "exact-mask"),
        *("image-size", "empty-images", "pixels"),
    }
)
VERSION: Final = "0.4"  # on Zarr 2, which all OME-Zarr readers support; many do not support 0.5 on Zarr 3
PROPERTIES: Final = {
    "class_name": None,
    "class_names": None,
    "class_scores": None,
    "score": None,
    "parent": None,
    "kind": "nucleus",
    "crowd": False,
    "ignore": False,
}
_LABEL = re.compile(r"^((?:.*/)?([^/]+?)(?:\.ome)?\.zarr)/labels/([^/]+)/\.zattrs$")


def write(
    samples: Iterable[Sample], out: Path, *, policy: str = "last-wins", overwrite: bool = False
) -> ConversionReport:
    """Write ``<id>.ome.zarr`` per image: the pixels as ``0``, the label map as ``labels/cells/0``.

    Class, score and flags of a cell are in the ``properties`` of ``image-label``.
    """
    report = ConversionReport()
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            group = folder / f"{to_name(sample.image.image_id)}.ome.zarr"
            labels = flatten(report, sample, KEEPS, policy)
            write_bytes(group / ".zgroup", to_json({"zarr_format": 2}))
            if sample.load_pixels is not None:
                pixels = sample.pixels()
                planes = pixels if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)
                report.written["files"] += write_array(group / "0", planes, _chunks(planes.shape))
                write_bytes(group / ".zattrs", to_json(_multiscale(sample.image, planes.ndim)))
            write_bytes(group / "labels" / ".zgroup", to_json({"zarr_format": 2}))
            write_bytes(group / "labels" / ".zattrs", to_json({"labels": ["cells"]}))
            _write_labels(group / "labels" / "cells", sample, labels)
            report.written["files"] += write_array(group / "labels" / "cells" / "0", labels, _chunks(labels.shape))
    return report


def _chunks(shape: tuple[int, ...]) -> list[int]:
    return [1] * (len(shape) - 2) + [min(CHUNK, n) for n in shape[-2:]]


def _multiscale(image: Image, axes: int) -> dict[str, Any]:
    unit = {"unit": "micrometer"} if image.pixel_size_um else {}
    scale = [1.0] * (axes - 2) + [image.pixel_size_um or 1.0] * 2
    names = [{"name": "c", "type": "channel"}][: axes - 2] + [{"name": a, "type": "space", **unit} for a in "yx"]
    data = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    return {"multiscales": [{"version": VERSION, "name": image.image_id, "axes": names, "datasets": [data]}]}


def _write_labels(folder: Path, sample: Sample, labels: NDArray[Any]) -> None:
    present = set(np.unique(labels).tolist())
    properties = []
    columns = {name: sample.instances.column(name) for name in PROPERTIES}
    for k, label in enumerate(sample.instances.ids.tolist()):
        if label in present:
            said = {n: v[k] for n, v in columns.items() if v[k] is not None and v[k] != PROPERTIES[n]}
            properties.append({"label-value": label, **said})
    about = {"version": VERSION, "source": {"image": "../../"}, "properties": properties}
    write_bytes(folder / ".zgroup", to_json({"zarr_format": 2}))
    write_bytes(folder / ".zattrs", to_json({**_multiscale(sample.image, 2), "image-label": about}))


def read(path: Path, images: Mapping[str, Image] | None = None, *, label: str = "cells") -> Iterator[Sample]:
    """Read the label image called `label` of each image group, at full resolution; Zarr 2 only."""
    with open_files(path) as files:
        found: dict[str, dict[str, str]] = {}
        for member in _under(files):
            if hit := _LABEL.match(member):
                found.setdefault(hit[2], {})[hit[3]] = hit[1]
        if not found and any(m.endswith("zarr.json") for m in files.names):
            raise InputError(f"{files.path} is Zarr 3 (OME-Zarr 0.5); expected Zarr 2 (OME-Zarr 0.4)")
        files.expect(found, "<image>.ome.zarr/labels/<name>/.zattrs")
        for name in sorted(found, key=from_name):
            chosen = label if label in found[name] else sorted(found[name])[0]
            try:
                yield _sample(files, from_name(name), found[name][chosen], chosen, images or {})
            except InputError as exc:
                yield _unreadable(from_name(name), images or {}, exc)


def _under(files: Files) -> list[str]:
    """List members as if the parent folder had been opened, so that a single image group can also be given."""
    inside = files.path.name.endswith(".zarr")
    return [f"{files.path.name}/{m}" for m in files.names] if inside else files.names


def _sample(files: Files, image_id: str, group: str, label: str, known: Mapping[str, Image]) -> Sample:
    labels = _array(files, f"{group}/labels/{label}/{_first(files, f'{group}/labels/{label}')}")
    findings: list[Any] = []
    flat = labels.ndim >= 2 and labels.size == np.prod(labels.shape[-2:])
    plane = labels.reshape(labels.shape[-2:]) if flat else labels
    image, _ = image_of(files, image_id, None, known, (int(plane.shape[0]), int(plane.shape[1])), findings)
    cells = cells_of(plane, image_id, findings)
    attributes = _attributes(files, f"{group}/labels/{label}").get("image-label", {})
    rows = attributes.get("properties", []) if isinstance(attributes, dict) else []
    said = {p.get("label-value"): p for p in rows if isinstance(p, dict)}
    cells = cells.with_columns(**_columns(cells, said)) if said else cells
    load = None
    if _read(files, f"{group}/.zattrs") is not None:
        path = f"{group}/{_first(files, group)}"
        load = lambda: _channels_last(_array(files, path))  # noqa: E731 - a closure over this image
    return Sample(image, cells, tuple(findings), load)


def _unreadable(image_id: str, known: Mapping[str, Image], exc: InputError) -> Sample:
    image = known.get(image_id) or Image(image_id, 0, 0)
    finding = Finding("unreadable-mask", str(exc), "error", image_id)
    return Sample(image, Instances.empty(image.size), (finding,))


def _channels_last(planes: NDArray[Any]) -> NDArray[Any]:
    while planes.ndim > 3 and planes.shape[0] == 1:
        planes = planes[0]
    return planes if planes.ndim == 2 else np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def _columns(cells: Instances, said: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, plain in PROPERTIES.items():
        values = [said.get(i, {}).get(name, plain) for i in cells.ids.tolist()]
        if any(v != plain for v in values):
            found[name] = values
    return found


def _first(files: Files, group: str) -> str:
    """Return the path of the full resolution in a multiscales group."""
    try:
        return str(_attributes(files, group)["multiscales"][0]["datasets"][0]["path"])
    except (KeyError, IndexError, TypeError) as exc:
        raise InputError(f"{group}/.zattrs has no OME-Zarr multiscales") from exc


def _attributes(files: Files, group: str) -> dict[str, Any]:
    try:
        found = json.loads(_read(files, f"{group}/.zattrs") or b"{}")
    except ValueError as exc:
        raise InputError(f"{group}/.zattrs is not JSON: {exc}") from exc
    return found if isinstance(found, dict) else {}


def _array(files: Files, path: str) -> NDArray[Any]:
    return read_array(lambda name: _read(files, f"{path}/{name}"), path)


def _read(files: Files, member: str) -> bytes | None:
    if files.path.name.endswith(".zarr"):
        member = member.removeprefix(f"{files.path.name}/")
    return files.read(member) if member in files.entries else None


def recognise(peek: Peek) -> Recognition | None:
    """Recognise Zarr groups with labels."""
    if peek.is_file:
        return None
    inside = f"{peek.path.name}/" if peek.path.name.endswith(".zarr") else ""
    if any(_LABEL.match(inside + name) for name in peek.names):
        return Recognition(Strength.SIGNATURE, "a Zarr group with labels/")
    return None


FORMAT = Format(
    name="ome-zarr",
    title="OME-Zarr labels",
    description=(
        "One OME-NGFF 0.4 group per image with the cells as a label image, its properties holding class, score "
        "and flags (https://ngff.openmicroscopy.org/0.4/). Opens in napari, QuPath, Fiji and Vizarr."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    read_options=(Option("label", "cells", "name of the label image; the first one if this name does not exist"),),
    write_options=(POLICY,),
)
