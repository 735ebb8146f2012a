"""Generate cells for the benchmarks of scored metrics: blobs on a jittered grid, predictions, COCO files of both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable.geometry.masks import Masks

Points = NDArray[np.float64]


def outlines(rng: np.random.Generator, size: tuple[int, int], n: int, points: int = 40) -> list[Points]:
    """Draw `n` wobbly ellipses spread over an image, each (points, 2) x, y."""
    height, width = size
    pitch = np.sqrt(height * width / n)
    columns = int(np.ceil(width / pitch))
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    found = []
    for k in range(n):
        centre = np.array([(k % columns + 0.5) * pitch, (k // columns + 0.5) * pitch]) + rng.normal(0, pitch / 10, 2)
        radii = pitch * rng.uniform(0.35, 0.55, 2)
        wobble = 1 + 0.12 * np.sin(3 * angles + rng.uniform(0, 6))
        shape = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * radii * wobble[:, None]
        found.append(np.clip(shape, 0, [width, height]).round(2))
    return found


def predicted(rng: np.random.Generator, cells: Sequence[Points], size: tuple[int, int], n: int) -> list[Points]:
    """Make `n` predictions: cells shifted and scaled, some twice, and some false positives."""
    found = []
    for k in range(n):
        cell = cells[k % len(cells)]
        middle = cell.mean(axis=0)
        far = rng.random() < 0.2
        shift = rng.normal(0, 12 if far else 1.2, 2)
        shape = middle + (cell - middle) * rng.uniform(0.85, 1.15) + shift
        found.append(np.clip(shape, 0, [size[1], size[0]]))
    return found


def counts_of(shapes: Sequence[Points], size: tuple[int, int]) -> list[bytes]:
    """Draw the shapes as compressed run lengths."""
    from celltable.geometry import polygon

    return list(polygon.to_masks([[s.ravel().tolist()] for s in shapes], size))


def write_coco(
    folder: Path, images: int, size: tuple[int, int], n_gt: int, n_pred: int, seed: int = 0, distinct: int = 50
) -> tuple[Path, Path]:
    """Make a ground-truth file with polygons and a results file with run lengths; images repeat after `distinct`."""
    rng = np.random.default_rng(seed)
    scenes: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = []
    for _ in range(min(images, distinct)):
        scenes.append(_scene(rng, size, n_gt, n_pred))
    gt, dt = folder / "gt.json", folder / "dt.json"
    annotations, results, number = [], [], 1
    for image in range(1, images + 1):
        cells, guesses = scenes[(image - 1) % len(scenes)]
        for cell in cells:
            annotations.append(cell | {"id": number, "image_id": image})
            number += 1
        scores = rng.random(len(guesses)).round(4).tolist()
        results += [g | {"image_id": image, "score": s} for g, s in zip(guesses, scores, strict=True)]
    records = [{"id": k, "file_name": f"{k}.tif", "height": size[0], "width": size[1]} for k in range(1, images + 1)]
    head = {"info": {}, "licenses": [], "images": records, "categories": [{"id": 1, "name": "cell"}]}
    gt.write_text(json.dumps(head | {"annotations": annotations}))
    dt.write_text(json.dumps(results))
    return gt, dt


def _scene(
    rng: np.random.Generator, size: tuple[int, int], n_gt: int, n_pred: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    cells = outlines(rng, size, n_gt)
    guesses = predicted(rng, cells, size, n_pred)
    counts, guessed = counts_of(cells, size), counts_of(guesses, size)
    masks = Masks.of(counts, size)
    areas, boxes = masks.areas, masks.boxes
    truth = [
        {
            "category_id": 1,
            "segmentation": [cell.ravel().tolist()],
            "area": float(area),
            "bbox": box.tolist(),
            "iscrowd": 0,
        }
        for cell, area, box in zip(cells, areas, boxes, strict=True)
        if area
    ]
    found = [{"category_id": 1, "segmentation": {"size": list(size), "counts": c.decode()}} for c in guessed]
    return truth, found
