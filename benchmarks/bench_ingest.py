"""Ingest, open and show: the whole stage-1 release of the 2018 Data Science Bowl against the usual script.

The usual script reads the unzipped tree in one process: PIL, pycocotools.mask.encode, json. celltable reads the zip as
published, verifies every checksum, derives image types and writes a store; its time is that of the whole pipeline.
Run: python benchmarks/bench_ingest.py [stage1_train.zip]
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "dsb2018" / "stage1_train.zip"
ROUNDS = 3

USUAL = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
from pycocotools import mask as coco
images, annotations = [], []
for folder in sorted(p for p in Path(sys.argv[1]).iterdir() if p.is_dir()):
    with Image.open(next((folder / "images").glob("*.png"))) as image:
        images.append({"id": len(images), "file_name": folder.name, "width": image.width, "height": image.height})
    for path in sorted((folder / "masks").glob("*.png")):
        mask = np.asarray(Image.open(path)) > 0
        rle = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
        annotations.append({"id": len(annotations), "image_id": images[-1]["id"], "category_id": 1, "iscrowd": 0,
            "area": float(coco.area(rle)), "bbox": coco.toBbox(rle).tolist(),
            "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()}})
categories = [{"id": 1, "name": "nucleus"}]
json.dump({"images": images, "annotations": annotations, "categories": categories}, open(sys.argv[2], "w"))
"""


def timed(command: list[str]) -> tuple[float, float]:
    """Return the wall seconds and the peak memory (MB) of a process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "celltable", *words]


def ingest(archive: Path, work: Path) -> None:
    tree = work / "stage1_train"
    with zipfile.ZipFile(archive) as source:
        source.extractall(tree)
    usual, ours = [], {1: [], 2: []}  # type: ignore[var-annotated]
    peak = 0.0
    for _ in range(ROUNDS):
        for workers, times in ours.items():
            words = ["ingest", "dsb2018", str(archive), str(work / "dsb.celltable"), "-w", str(workers), "--overwrite"]
            seconds, peak = timed(command(*words))
            times.append(seconds)
        if not usual:
            print(f"celltable's peak memory: {peak:.0f} MB (target: under 500)")
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", USUAL, str(tree), str(work / "usual.json")], check=True)
        usual.append(time.perf_counter() - started)
    median = statistics.median(usual)
    print(f"usual script, one process, unzipped tree   {median:8.2f} s")
    for workers, times in ours.items():
        seconds = statistics.median(times)
        print(f"celltable ingest, whole process, {workers} workers  {seconds:8.2f} s   {median / seconds:6.1f}×")


def opening(store: Path) -> None:
    import celltable as ct

    ct.open(store)[next(iter(ct.open(store)))].instances  # noqa: B018 - warm imports
    fresh = []
    for _ in range(15):
        started = time.perf_counter()
        ds = ct.open(store)
        len(ds[next(iter(ds))].instances)
        fresh.append(time.perf_counter() - started)
    ds = ct.open(store)
    ids = list(ds)
    for i in ids:
        ds[i].instances  # noqa: B018
    each = []
    for i in ids:
        started = time.perf_counter()
        ds.rows_of(i)
        each.append(time.perf_counter() - started)
    views = []
    for i in ids:
        started = time.perf_counter()
        ds[i].instances  # noqa: B018
        views.append(time.perf_counter() - started)
    print(f"open a store and read one image's cells    {statistics.median(fresh) * 1e3:8.2f} ms  (target: under 5)")
    print(f"rows of one image of an open store         {statistics.median(each) * 1e3:8.3f} ms  (target: under 0.3)")
    print(f"  as Instances with their image record     {statistics.median(views) * 1e3:8.3f} ms")
    shows = [timed(command("show", str(store)))[0] for _ in range(5)]
    helps = [timed(command("--help"))[0] for _ in range(5)]
    bare = [timed([sys.executable, "-c", "pass"])[0] for _ in range(5)]
    print(f"celltable show, whole process              {statistics.median(shows) * 1e3:8.0f} ms  (target: under 400)")
    print(f"celltable --help, whole process            {statistics.median(helps) * 1e3:8.0f} ms  (target: under 150)")
    print(f"bare Python                                {statistics.median(bare) * 1e3:8.0f} ms")


def main() -> None:
    archive = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT
    if not archive.exists():
        print(f"{archive} does not exist: pass the path of stage1_train.zip")
        return
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; numpy {np.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        ingest(archive, Path(folder))
        opening(Path(folder) / "dsb.celltable")


if __name__ == "__main__":
    main()
