"""Time of geometry functions, against the usual method for each task, in one run.

    python benchmarks/bench_geometry.py            # 500 cells at 520 × 704, overlap tables up to 5000²
    python benchmarks/bench_geometry.py --small    # without the 5000² maps

The usual methods: one full-frame mask per cell with pycocotools (both directions, and polygons), scikit-image's
regionprops, and reading both label maps once, which is the floor of any overlap table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco
from skimage.measure import regionprops

from _timing import compare, print_table
from celltable.geometry import label_map as label_maps
from celltable.geometry import overlap, polygon
from celltable.geometry.masks import from_label_map as masks_of

SIZE = (520, 704)
N_CELLS = 500


def ellipses(size: tuple[int, int], n: int, seed: int = 0) -> NDArray[np.int32]:
    """Draw a label map of `n` ellipses on a jittered grid that cover about half of it."""
    rng = np.random.default_rng(seed)
    height, width = size
    pitch = np.sqrt(height * width / n)
    columns = int(np.ceil(width / pitch))
    reach = int(pitch / 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    margin = 4 * reach + int(pitch) + 8
    out = np.zeros((height + margin, width + margin), np.int32)
    for k in range(n):
        a, b = rng.uniform(0.33, 0.49, 2) * pitch
        top = int((k // columns + 0.5) * pitch + rng.integers(-2, 3)) + reach
        left = int((k % columns + 0.5) * pitch + rng.integers(-2, 3)) + reach
        out[top : top + 2 * reach + 1, left : left + 2 * reach + 1][(y / a) ** 2 + (x / b) ** 2 <= 1] = k + 1
    return np.ascontiguousarray(out[2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width])


def encode_loop(labels: NDArray[np.int32]) -> list[tuple[bytes, int, list[float]]]:
    found = []
    for i in np.unique(labels)[1:].tolist():
        one = coco.encode(np.asfortranarray(labels == i))
        found.append((one["counts"], int(coco.area(one)), coco.toBbox(one).tolist()))
    return found


def paint_loop(masks: list[dict[str, object]]) -> NDArray[np.int32]:
    out = np.zeros(SIZE, np.int32)
    for k, one in enumerate(masks):
        out[coco.decode(one) > 0] = k + 1
    return out


def circles(n: int, seed: int = 0) -> list[list[list[float]]]:
    """Generate `n` polygons of 50 points, as COCO lists them."""
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    points = []
    for _ in range(n):
        x, y, r = rng.uniform(15, SIZE[1] - 15), rng.uniform(15, SIZE[0] - 15), rng.uniform(8, 13)
        points.append([np.stack([x + r * np.cos(angles), y + r * np.sin(angles)], axis=1).round(2).ravel().tolist()])
    return points


def masks_and_maps() -> None:
    labels = ellipses(SIZE, N_CELLS)
    counts = masks_of(labels).masks
    masks: list[dict[str, object]] = [{"size": list(SIZE), "counts": c} for c in counts]
    assert [e[0] for e in encode_loop(labels)] == counts
    assert (counts.flatten().label_map == paint_loop(masks)).all()
    print(f"{len(counts)} cells at {SIZE[0]} × {SIZE[1]}, {np.mean(labels > 0):.0%} covered")
    small = labels.astype(np.uint16)
    rows = compare(
        {
            "pycocotools encode, label by label": lambda: encode_loop(labels),
            "celltable, int32": lambda: masks_of(labels),
            "celltable, uint16": lambda: masks_of(small),
        }
    )
    print_table("label map → run lengths, boxes, areas", rows)
    rows = compare(
        {
            "skimage regionprops": lambda: [(p.label, p.bbox, p.area) for p in regionprops(labels)],
            "celltable, int32": lambda: label_maps.areas_boxes(labels),
            "celltable, uint16": lambda: label_maps.areas_boxes(small),
        },
        rounds=15,
    )
    print_table("label map → boxes, areas", rows)
    rows = compare(
        {
            "pycocotools decode, mask by mask": lambda: paint_loop(masks),
            "celltable": lambda: counts.flatten().label_map,
        }
    )
    print_table("run lengths → label map", rows)


def polygons() -> None:
    cells = circles(N_CELLS)
    flat = polygon.flat(cells)

    def usual() -> NDArray[np.int32]:
        return paint_loop([coco.merge(coco.frPyObjects(parts, *SIZE)) for parts in cells])

    assert (usual() == polygon.to_masks(cells, SIZE).flatten().label_map).all()
    rows = compare(
        {
            "pycocotools frPyObjects + decode": usual,
            "celltable, from lists": lambda: polygon.to_masks(cells, SIZE).flatten().label_map,
            "celltable, from flat arrays": lambda: polygon.flat_to_masks(*flat, SIZE).flatten().label_map,
        }
    )
    print_table("500 polygons of 50 points → label map", rows)


def overlaps(side: int, n: int) -> None:
    gt = ellipses((side, side), n)
    pred = np.roll(gt, (2, 1), (0, 1)).copy()
    candidates: dict[str, Callable[[], object]] = {
        "reading both maps once (max)": lambda: (gt.max(), pred.max()),
        "summing both maps": lambda: (gt.sum(), pred.sum()),
        "celltable": lambda: overlap.overlap_of_label_maps(gt, pred),
    }
    if n <= 500:
        candidates["np.bincount of joint labels"] = lambda: np.bincount((gt * (n + 1) + pred).ravel())
    print_table(f"overlap table, {side}², {n:,} cells", compare(candidates))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="leave out the 5000² maps")
    small = parser.parse_args().small
    masks_and_maps()
    polygons()
    overlaps(256, 30)
    overlaps(1024, 500)
    if not small:
        overlaps(5000, 20_000)


if __name__ == "__main__":
    main()
