"""Generate a release in LIVECell's layout and grammar: at full scale 1.6 million polygons over 3,250 images, 1.3 GB.

Cells are wobbly outlines with coordinates of two decimals; their areas and boxes are those of the polygons, as the
publisher computed them. Images repeat after a hundred scenes, with their own names, ids and annotation ids.
Run: python benchmarks/make_livecell_scale.py FOLDER [--scale 1]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from celltable.notation.livecell import TYPES

IMAGES, CELLS = 3250, 1_600_000  # of the whole release
SIZE = (520, 704)
POINTS = (26, 55)  # 40 points a cell on average, which makes the file as large as the published ones
SCENES = 100


def cells_of_scene(rng: np.random.Generator, n: int) -> list[tuple[str, float, list[float]]]:
    """The outline as JSON text, its area and its box, of `n` cells spread over an image."""
    height, width = SIZE
    pitch = np.sqrt(height * width / n)
    columns = int(np.ceil(width / pitch))
    found = []
    for k in range(n):
        angles = np.linspace(0, 2 * np.pi, int(rng.integers(*POINTS)), endpoint=False)
        centre = np.array([(k % columns + 0.5) * pitch, (k // columns + 0.5) * pitch]) + rng.normal(0, pitch / 10, 2)
        wobble = 1 + 0.12 * np.sin(3 * angles + rng.uniform(0, 6)) + rng.normal(0, 0.01, len(angles))
        shape = (
            centre
            + np.stack([np.cos(angles), np.sin(angles)], 1) * (rng.uniform(0.35, 0.55, 2) * pitch) * wobble[:, None]
        )
        xy = np.clip(shape, 0, [width, height]).round(2)
        x, y = xy.T
        area = float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)
        low, high = xy.min(axis=0), xy.max(axis=0)
        found.append((json.dumps([xy.ravel().tolist()]), area, [*low.tolist(), *(high - low).tolist()]))
    return found


def names(n: int) -> Iterator[str]:
    """File names as LIVECell's: type, well, location, time, crop."""
    for k in range(n):
        well = f"{'ABCDEFGH'[k // 8 % 8]}{k // 64 % 12 + 1}"
        moment = f"{k // 1536 % 3:02d}d{k % 24:02d}h00m"
        yield f"{list(TYPES)[k % 8]}_Phase_{well}_{k // 768 % 2 + 1}_{moment}_{k // 4608 + k % 4 + 1}"


def make(folder: Path, scale: float = 1 / 8, seed: int = 0) -> Path:
    """Write the release at a scale of LIVECell's size; returns its annotation file."""
    rng = np.random.default_rng(seed)
    images, cells = max(1, round(IMAGES * scale)), max(1, round(CELLS * scale))
    target = folder / "LIVECell_dataset_2021" / "annotations" / "LIVECell" / "livecell_coco_train.json"
    target.parent.mkdir(parents=True)
    per_image = np.diff(np.linspace(0, cells, images + 1).round().astype(int))
    most = int(per_image.max())
    scenes = [cells_of_scene(rng, most) for _ in range(min(images, SCENES))]
    keys = (1 + rng.permutation(images) * 7).tolist()
    records = [
        {"id": key, "width": SIZE[1], "height": SIZE[0], "file_name": f"{name}.tif", "original_filename": f"{name}.png",
         "url": f"https://example.org/images/{key}/original"}
        for key, name in zip(keys, names(images), strict=True)
    ]  # fmt: skip
    head = {
        "info": {"year": "2021", "version": "1.0", "description": "generated in LIVECell's grammar"},
        "licenses": [],
        "categories": [{"supercategory": "cell", "id": 1, "name": "cell"}],
        "images": records,
    }
    number = 0
    with target.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for k, (key, n) in enumerate(zip(keys, per_image.tolist(), strict=True)):
            for outline, area, box in scenes[k % len(scenes)][:n]:
                number += 1
                file.write(
                    f'{", " if number > 1 else ""}{{"id": {number}, "image_id": {key}, "category_id": 1, '
                    f'"segmentation": {outline}, "area": {area!r}, "bbox": {box}, "iscrowd": 0}}'
                )
        file.write("]}")
    return target


def main() -> None:
    """Write it and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1 / 8)
    options = parser.parse_args()
    path = make(options.folder, options.scale)
    print(f"{path}: {path.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
