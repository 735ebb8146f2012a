"""Read and write label maps, with the checks shared by all label-map formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError
from celltable.geometry.masks import from_label_map
from celltable.notation.names import from_name
from celltable.plugins.format import ConversionReport
from celltable.plugins.losses import IDS

from ._files import Files, image_of, open_files

MAX_ID = 2**31 - 1


def smallest(labels: NDArray[Any], kinds: Sequence[type[np.unsignedinteger[Any]]], bits: int = 0) -> NDArray[Any]:
    """Convert `labels` to the narrowest of these unsigned types that holds them, or to the one with `bits`."""
    top = int(labels.max(initial=0))
    wide = [k for k in kinds if not bits or np.dtype(k).itemsize * 8 == bits]
    if not wide:
        names = " or ".join(str(np.dtype(k).itemsize * 8) for k in kinds)
        raise InputError(f"{bits} bits were requested; expected {names}")
    for kind in wide:
        if top <= np.iinfo(kind).max:
            return labels.astype(kind, copy=False)
    raise InputError(f"the cell id {top:,} does not fit into {np.dtype(wide[-1]).itemsize * 8} bits")


def cells_of(labels: NDArray[Any], image_id: str, findings: list[Finding], **columns: Any) -> Instances:
    """Convert a label map to cells with the labels as ids; anything else becomes a finding."""
    size = int(labels.shape[0]), int(labels.shape[1])
    if labels.ndim == 3 and labels.shape[2] in (3, 4) and _grey(labels):
        labels = labels[..., 0]
    if labels.ndim != 2:
        message = f"an array of shape {labels.shape}; expected one plane of labels"
        findings.append(Finding("mask-shape", message, "error", image_id))
        return Instances.empty(size)
    if labels.dtype.kind == "f":
        if not np.array_equal(labels, np.trunc(labels)):
            findings.append(Finding("mask-values", "labels are not whole numbers", "error", image_id))
            return Instances.empty(size)
        labels = labels.astype(np.int64)
    wrong = (labels < 0) | (labels > MAX_ID) if labels.dtype.itemsize >= 4 else np.zeros(0, bool)
    if wrong.any():
        message = f"{np.count_nonzero(wrong):,} pixels hold labels below 0 or above {MAX_ID:,}; taken as background"
        findings.append(Finding("mask-values", message, "error", image_id))
        labels = np.where(wrong, 0, labels)
    if labels.dtype == bool:
        labels = labels.view(np.uint8)
    ids, masks = from_label_map(labels)
    return Instances(masks, instance_id=ids.astype(np.int32), **columns)


def _grey(labels: NDArray[Any]) -> bool:
    return bool((labels[..., :1] == labels[..., 1:3]).all())


def read_label_maps(path: Path, images: Mapping[str, Image], endings: tuple[str, ...]) -> Iterator[Sample]:
    """Yield a Sample per label file of a folder or zip, or for a single file."""
    with open_files(path, endings) as files:
        members = [m for m in files.names if m.lower().endswith(endings)]
        files.expect(members, f"label maps (*{', *'.join(endings)})")
        for member in sorted(members):
            image_id = from_name(PurePosixPath(member).stem)
            findings: list[Finding] = []
            known = images.get(image_id)
            try:
                labels = files.pixels(member)
            except InputError as exc:
                findings.append(Finding("unreadable-mask", f"{member}: {exc}", "error", image_id))
                size = known.size if known else (0, 0)
                yield Sample(known or Image(image_id, *size), Instances.empty(size), tuple(findings))
                continue
            cells = cells_of(labels, image_id, findings)
            if known and known.size != cells.size:
                message = (
                    f"the label map is {cells.size[0]} × {cells.size[1]}, the image {known.height} × {known.width}"
                )
                findings.append(Finding("size-mismatch", message, "error", image_id))
                cells = Instances.empty(known.size)
            yield Sample(known or Image(image_id, *cells.size), cells, tuple(findings))


def read_pairs(
    files: Files,
    labels: Mapping[str, str],
    pictures: Mapping[str, str],
    images: Mapping[str, Image],
    decode: Callable[[str], tuple[NDArray[Any], dict[str, Any]]] | None = None,
) -> Iterator[Sample]:
    """Yield a Sample per name of `labels` or `pictures` (file name without ending → member), in the order of ids.

    `decode` turns a label member into its label map and further columns of the cells.
    """
    for name in sorted(set(labels) | set(pictures), key=from_name):
        image_id = from_name(name)
        findings: list[Finding] = []
        found: NDArray[Any] | None = None
        columns: dict[str, Any] = {}
        if name in labels:
            try:
                found, columns = decode(labels[name]) if decode else (files.pixels(labels[name]), {})
            except InputError as exc:
                findings.append(Finding("unreadable-mask", f"{labels[name]}: {exc}", "error", image_id))
        size = None if found is None else (int(found.shape[0]), int(found.shape[1]))
        image, load = image_of(files, image_id, pictures.get(name), images, size, findings)
        if name not in labels:
            findings.append(Finding("missing-annotation", "no label map; the image is not annotated", "note", image_id))
            image = replace(image, annotated=False)
        cells = Instances.empty(image.size)
        if found is not None and size != image.size:
            message = f"the label map is {found.shape[0]} × {found.shape[1]}, the image {image.height} × {image.width}"
            findings.append(Finding("size-mismatch", message, "error", image_id))
        elif found is not None:
            cells = cells_of(found, image_id, findings, **columns)
        yield Sample(image, cells, tuple(findings), load)


def to_16_bit(report: ConversionReport, labels: NDArray[Any]) -> NDArray[np.uint16]:
    """Convert a label map to 16 bits; ids that do not fit are renumbered in ascending order, which is counted.

    Raises
    ------
    InputError
        If there are more than 65,535 cells.
    """
    if int(labels.max(initial=0)) <= np.iinfo(np.uint16).max:
        return labels.astype(np.uint16)
    ids, where = np.unique(labels, return_inverse=True)
    if ids[0] != 0:
        ids, where = np.concatenate([[0], ids]), where + 1
    if len(ids) - 1 > np.iinfo(np.uint16).max:
        raise InputError(f"{len(ids) - 1:,} cells in one image; 16 bits hold 65,535. Export to label-tiff.")
    report.add(IDS, int(np.count_nonzero(ids[1:] != np.arange(1, len(ids)))))
    return where.reshape(labels.shape).astype(np.uint16)
