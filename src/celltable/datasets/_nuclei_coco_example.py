"""Generate a tiny copy of the COCO collection of nuclei sets: all annotation files, with one or two pictures each."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from celltable.cells import Instances

from ._dsb_example import Scene, scene
from ._example import eight_bits, guid, litter_files, write_files

_NAMES = {
    "cluster_nuclei": ["1"],
    "BBBC006": ["BBBC006_v1_images_z_16:mcf-z-stacks-03212011_a01_s1_w1{guid}"],
    "BBBC007": ["A9 p10d"],
    "BBBC018": ["00733-DNA"],
    "BBBC020": ["jw-15min 1_c5"],
    "nucleisegmentationbenchmark": ["TCGA-18-5592-01Z-00-DX1.tif:0_512_x_512_1024"],
    "2009_ISBI_2DNuclei": ["dna-0"],
    "nuclei_partial_annotations": ["12750_500_f00003_original.tif.0_512_x_0_512"],
    "TNBC_NucleiSegmentation": ["01_1.png.0_512_x_0_512"],
}


class _File:
    """An annotation file being written; image ids continue from file to file, as in the collection."""

    def __init__(self) -> None:
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, number: int, name: str, size: tuple[int, int], image_class: str, cells: Instances | None) -> None:
        self.images.append(
            {"id": number, "file_name": f"{name}.jpg", "height": size[0], "width": size[1], "nuclei_class": image_class}
        )
        if cells is not None:
            first = len(self.annotations)
            self.annotations += [_annotation(cells, k, first + k, number) for k in range(len(cells))]

    def encoded(self, as_object: bool = False) -> bytes:
        annotations: Any = self.annotations
        if as_object:
            annotations = {str(a["id"]): a for a in self.annotations}
        head = {"info": {"description": "coco format Nuclei"}, "categories": [{"id": 1, "name": "Nucleus"}]}
        return msgspec.json.encode({**head, "images": self.images, "annotations": annotations})


def _annotation(cells: Instances, k: int, number: int, image: int) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "segmentation": {"size": list(cells.size), "counts": cells.rle[k].decode()},
        "iscrowd": 0,
        "area": int(cells.area[k]),
        "bbox": [float(v) for v in cells.bbox[k]],
    }


def write_collection(folder: Path, seed: int, sources: Mapping[str, Any], val_classes: Sequence[str]) -> Path:
    """Write the folders below ``Nuclei``; `sources` are the collection's keys, `val_classes` those of its local val."""
    files: dict[str, bytes] = dict(litter_files())
    documents = {key: _File() for key in sources}
    keys = list(sources)
    number = 0
    for part, n in ((keys[0], 3), (keys[3], 1), (keys[4], 1)):
        for i in range(n):
            look, image_class = (("histology", val_classes[3]), ("fluorescence", "white_black_128_128"))[i % 2]
            made = scene(f"{part}{i}", seed * 1000 + number, look)
            labelled = part != keys[4]
            given = documents[part].add
            given(
                number,
                made[0],
                made[1].shape[:2],
                image_class if labelled else "Stage2",
                _cells(made) if labelled else None,
            )
            if part == keys[0]:
                local = keys[2] if image_class in val_classes else keys[1]
                documents[local].add(number, made[0], made[1].shape[:2], image_class, _cells(made))
            if number != 2:  # a record whose picture is missing
                files[f"{sources[part].folder}/{made[0]}.jpg"] = _jpeg(made[1])
            number += 1
    for i, (part, names) in enumerate(_NAMES.items()):
        look = "histology" if sources[part].modality == "histology" else "fluorescence"
        for k, name in enumerate(names):
            made = scene(name, seed * 1000 + 100 + i, look)
            stem = name.format(guid=guid(seed, i))
            documents[part].add(k, stem, made[1].shape[:2], f"{look}_{part}_{k}", _cells(made))
            files[f"{sources[part].folder}/{stem}.jpg"] = _jpeg(made[1])
    files["BBBC018/10779-DNA.jpg"] = files["BBBC018/00733-DNA.jpg"]
    for key, document in documents.items():
        files[f"annotations/{sources[key].annotations}.json"] = document.encoded(as_object=key == "BBBC020")
    return write_files(folder / "Nuclei", files)


def _cells(made: Scene) -> Instances:
    return Instances.from_masks(made[2], made[1].shape[:2])


def _jpeg(pixels: NDArray[Any]) -> bytes:
    from PIL import Image as Picture

    rgb = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    out = io.BytesIO()
    Picture.fromarray(eight_bits(rgb)).save(out, "JPEG", quality=75)
    return out.getvalue()
