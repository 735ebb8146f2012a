"""All 12 numbers of generated data like the LIVECell test set (1,564 images, about 300 k cells, 450 k predictions).

Two starting points: columns as in a store (run lengths, areas, scores), and the two JSON files. Each runs in a separate
process, which reports its seconds and peak memory, compared with the 136 s that the published evaluation took.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from _cells import write_coco

PUBLISHED_S = 136.0  # detectron2's log for this step of the LIVECell test set, on a server
NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "AR500", "AR2000", "ARs", "ARm", "ARl")


def from_columns(folder: Path) -> None:
    """Compute the 12 numbers from Arrow columns on disk; reading them is part of the time."""
    import pyarrow.parquet as pq

    from celltable.geometry.masks import RunLengths
    from celltable.scoring.coco.columns import Annotations, evaluate
    from celltable.scoring.coco.protocol import LIVECELL

    start = time.perf_counter()
    sides = []
    for name in ("gt", "dt"):
        table = pq.read_table(folder / f"{name}.parquet").combine_chunks()
        rle = table.column("rle").chunk(0)
        ends = np.frombuffer(rle.buffers()[1], np.int64)[: len(rle) + 1]
        masks = RunLengths(np.frombuffer(rle.buffers()[2], np.uint8)[: ends[-1]], ends)
        image = table.column("image").to_numpy()
        sides.append(
            Annotations(
                image,
                np.zeros(len(image), np.int32),
                masks,
                np.full((len(rle), 2), (520, 704), np.int32),
                area=table.column("area").to_numpy() if name == "gt" else None,
                score=table.column("score").to_numpy() if name == "dt" else None,
            )
        )
    found = evaluate(sides[0], sides[1], int(sides[0].image.max()) + 1, ("cell",), LIVECELL, "strict", 2)
    report("store-like columns", start, found.summary())


def from_json(folder: Path) -> None:
    """Compute the 12 numbers from two JSON files."""
    from celltable.scoring.coco.files import coco_scores

    start = time.perf_counter()
    report(
        "JSON files", start, coco_scores(folder / "gt.json", folder / "dt.json", protocol="livecell", threads=2).fields
    )


def report(name: str, start: float, fields: object) -> None:
    """Print one line."""
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()  # ru_maxrss would hold the parent's memory as well
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1e6
    print(f"{name:20} {seconds:6.2f} s  {PUBLISHED_S / seconds:5.0f} times the published rate  peak {peak:.2f} GB")
    assert isinstance(fields, dict)
    print("   " + "  ".join(f"{k} {fields[k]:.4f}" for k in NUMBERS))


def write_columns(folder: Path) -> None:
    """Convert the two files to Parquet columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from celltable._native.cocojson import CocoFile

    for name in ("gt", "dt"):
        file = CocoFile.open(str(folder / f"{name}.json"))
        sizes = np.full((len(file), 2), (520, 704), np.int32)
        text, ends = file.counts(np.ones(len(file), np.uint8), sizes, 2)
        rle = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(file), [None, pa.py_buffer(ends), pa.py_buffer(text)]
        )
        image = np.array(file.image_keys, np.int32)[file.image] - 1
        columns = {
            "image": image,
            "rle": rle,
            "area": file.area,
            "score": np.zeros(len(file)) if file.score is None else file.score,
        }
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", row_group_size=1 << 16)


def main() -> None:
    """Generate, then run each start in its own process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1564)
    parser.add_argument("--run", choices=["columns", "json"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.run:
        (from_columns if options.run == "columns" else from_json)(options.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gt, dt = write_coco(folder, options.images, (520, 704), 192, 288, distinct=100)
        write_columns(folder)
        print(f"{options.images} images, {(gt.stat().st_size + dt.stat().st_size) / 1e6:.0f} MB of JSON")
        for run in ("columns", "json"):
            subprocess.run([sys.executable, __file__, "--run", run, "--folder", name], check=True)


if __name__ == "__main__":
    main()
