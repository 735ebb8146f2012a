"""HoVer-Net label files (CoNSeP layout): one MATLAB file per image with instance and type maps."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Image, Instances, Sample
from celltable.errors import InputError
from celltable.geometry.label_map import measure
from celltable.notation.names import to_name
from celltable.plugins.format import About, ConversionReport, Format, Reading, Recognition, Strength
from celltable.plugins.losses import POLICY, flatten
from celltable.plugins.peek import Peek

from ._files import Files, open_files, pictures_and_labels
from ._labels import read_pairs
from ._out import new_folder
from ._pixels import encode, write_bytes

KEEPS: Final = frozenset(
    {"holes", "components", "ids", "classes", "exact-mask", "image-size", "empty-images", "pixels"}
)
_FILE = re.compile(r"^(?:.*/)?(images|labels)/([^/]+)\.(mat|png|tiff?|jpe?g)$", re.IGNORECASE)
_MAT_HEADER = b"MATLAB 5.0 MAT-file, written by celltable".ljust(116)  # SciPy puts the date there
_COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 165, 0), (0, 255, 255), (255, 0, 255))


def write(
    samples: Iterable[Sample], out: Path, *, policy: str = "last-wins", overwrite: bool = False
) -> ConversionReport:
    """Write ``Labels/<id>.mat`` (inst_map, type_map, inst_type, inst_centroid), ``Images/<id>.png``, type_info.json.

    Types are numbered from 1 in the order in which classes first appear; 0 is a cell without a class.
    """
    report, types = ConversionReport(), {"nolabel": 0}
    with new_folder(out, overwrite) as folder:
        for sample in samples:
            name = to_name(sample.image.image_id)
            if sample.load_pixels is not None:
                data, ending = encode(sample.pixels())
                write_bytes(folder / "Images" / f"{name}{ending}", data)
                report.written["files"] += 1
            labels = flatten(report, sample, KEEPS, policy)
            write_bytes(folder / "Labels" / f"{name}.mat", _mat(labels, sample.instances, types))
            report.written["files"] += 1
        info = {str(k): [n, _COLOURS[(k - 1) % len(_COLOURS)] if k else (0, 0, 0)] for n, k in types.items()}
        write_bytes(folder / "type_info.json", json.dumps(info, indent=1).encode() + b"\n")
    return report


def _mat(labels: NDArray[Any], cells: Instances, types: dict[str, int]) -> bytes:
    from scipy.io import savemat

    numbers = {i: types.setdefault(n, len(types)) if n else 0 for i, n in _classes(cells)}
    ids = measure(labels).ids
    kinds = np.array([numbers[i] for i in ids.tolist()], np.int32).reshape(-1, 1)
    table = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    table[ids] = kinds[:, 0]
    arrays = {
        "inst_map": labels.astype(np.int32),
        "type_map": table[labels],
        "inst_type": kinds,
        "inst_centroid": centroids_xy(labels, ids),
    }
    stream = io.BytesIO()
    savemat(stream, arrays, do_compression=True)
    return _MAT_HEADER + stream.getvalue()[len(_MAT_HEADER) :]


def _classes(cells: Instances) -> list[tuple[int, str | None]]:
    return list(zip(cells.ids.tolist(), cells.column("class_name"), strict=True))


def centroids_xy(labels: NDArray[Any], ids: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the mean x and y of each label's pixels, float64 (n, 2).

    >>> centroids_xy(np.array([[0, 2, 2]]), np.array([2]))
    array([[1.5, 0. ]])
    """
    rows, columns = np.nonzero(labels)
    where = labels[rows, columns]
    n = np.bincount(where, minlength=int(labels.max(initial=0)) + 1)[ids]
    sums = (
        [np.bincount(where, weights=axis, minlength=int(labels.max()) + 1)[ids] for axis in (columns, rows)]
        if n.size
        else []
    )
    return np.stack([s / n for s in sums], axis=1) if sums else np.zeros((0, 2))


def read(path: Path, images: Mapping[str, Image] | None = None) -> Reading:
    """Read a folder or zip of this layout; class names come from type_info.json, else they are the type numbers."""
    with open_files(path) as files:
        pictures, labels = pictures_and_labels(files, _FILE, "mat")
        files.expect(labels, "Labels/*.mat and Images/*.png")
        names = _type_names(files)
        yield from read_pairs(files, labels, pictures, images or {}, lambda m: _decode(files, m, names))
        return About(classes=tuple(names[k] for k in sorted(names) if k))


def _type_names(files: Files) -> dict[int, str]:
    info = next((m for m in files.names if m.rpartition("/")[2] == "type_info.json"), None)
    if info is None:
        return {}
    try:
        return {int(k): str(v[0]) for k, v in json.loads(files.read(info)).items()}
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as exc:
        raise InputError(f"{info}: expected {{number: [name, colour]}}; {exc}") from exc


def _decode(files: Files, member: str, names: Mapping[int, str]) -> tuple[NDArray[Any], dict[str, Any]]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        data = loadmat(io.BytesIO(files.read(member)), variable_names=("inst_map", "inst_type", "type_map"))
    except (MatReadError, ValueError, TypeError, NotImplementedError, OSError, EOFError) as exc:
        raise InputError(f"not a readable MATLAB 5 file ({exc})") from exc
    if "inst_map" not in data:
        raise InputError("it contains no inst_map")
    labels = np.asarray(data["inst_map"])
    if labels.ndim != 2 or labels.dtype.kind not in "iuf":
        raise InputError(f"inst_map has shape {labels.shape} and type {labels.dtype}; expected one plane of numbers")
    ids = np.unique(labels[labels > 0])
    types = np.asarray(data.get("inst_type", ())).ravel()
    if types.size == 0 or ids.size == 0:
        return labels, {}
    if len(types) != len(ids):
        raise InputError(f"inst_type has {len(types)} entries for {len(ids)} instances of inst_map")
    classes = [names.get(int(t), str(int(t))) if t else None for t in types.tolist()]
    return labels, {"class_name": classes} if any(classes) else {}


def recognise(peek: Peek) -> Recognition | None:
    """Recognise MATLAB files in a folder Labels."""
    labels = [hit[0] for hit in peek.matches(_FILE) if hit[1].lower() == "labels" and hit[3].lower() == "mat"]
    if any(peek.head(name, 6) == b"MATLAB" for name in labels[:3]):
        return Recognition(Strength.SIGNATURE, "MATLAB files in a folder Labels")
    return None


FORMAT = Format(
    name="hover-net",
    title="HoVer-Net label files",
    description=(
        "Labels/<id>.mat with inst_map, type_map, inst_type and inst_centroid, Images/<id>.png and type_info.json: the "
        "layout of CoNSeP and of HoVer-Net's own results (https://github.com/vqdang/hover_net)."
    ),
    keeps=KEEPS,
    read=read,
    write=write,
    recognise=recognise,
    write_options=(POLICY,),
)
