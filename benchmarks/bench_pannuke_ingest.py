"""A PanNuke fold as published (float64 .npy) into a store, against the loop over channels and ids that scripts use.

The fold is generated: masks of full size, 50 patches repeated; images as a sparse file, which ingest does not read.
The loop opens the same file as a memory map and encodes `mask == id` of every id of every channel with pycocotools.
Each is a separate process, whose seconds and peak memory (including pages of the mapped file) are reported.
Run: python benchmarks/bench_pannuke_ingest.py [--scale 0.1]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from bench_metrics_label_maps import patches

PATCHES = 2656  # of the largest fold
REPORT = """
status = Path("/proc/self/status").read_text()
print(json.dumps([seconds, int(status.split("VmHWM:")[1].split()[0]) / 1e6, cells]))
"""
PRELUDE = "import json, sys, time\nfrom pathlib import Path\nstart = time.perf_counter()\n"
LOOP = """
import numpy as np
from pycocotools import mask as coco
masks = np.load(Path(sys.argv[1]) / "masks" / "fold1" / "masks.npy", mmap_mode="r")
rows = []
for k in range(len(masks)):
    patch = np.asarray(masks[k])
    for channel in range(5):
        plane = patch[..., channel]
        for i in np.unique(plane):
            if i:
                rle = coco.encode(np.asfortranarray(plane == i, dtype=np.uint8))
                rows.append((k, channel, int(i), rle["counts"], float(coco.area(rle)), coco.toBbox(rle).tolist()))
seconds = time.perf_counter() - start
cells = len(rows)
"""
INGEST = """
from celltable.pipelines.ingest import ingest
store = ingest("pannuke", sys.argv[1], sys.argv[2], workers=int(sys.argv[3]), overwrite=True)
seconds = time.perf_counter() - start
cells = len(store.instances)
"""


def make(folder: Path, scale: float) -> Path:
    """Write the fold; return its folder."""
    n = max(1, round(PATCHES * scale))
    some, _ = patches(np.random.default_rng(0), min(n, 50))
    for what, shape in (("masks", (n, 256, 256, 6)), ("images", (n, 256, 256, 3))):
        path = folder / "Fold 1" / what / "fold1" / f"{what}.npy"
        path.parent.mkdir(parents=True)
        array = open_memmap(path, "w+", np.float64, shape)
        if what == "masks":
            for k in range(n):
                array[k] = some[k % len(some)]
        array.flush()
    np.save(folder / "Fold 1" / "images" / "fold1" / "types.npy", np.array(["Breast"] * n))
    return folder / "Fold 1"


def measured(script: str, *words: str) -> tuple[float, float, int]:
    """Return the seconds, peak memory (GB) and number of cells of a process."""
    done = subprocess.run([sys.executable, "-c", PRELUDE + script + REPORT, *words], check=True, stdout=subprocess.PIPE)
    seconds, peak, cells = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak, cells


def main() -> None:
    """Generate, measure and remove."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        fold = make(Path(folder), options.scale)
        size = (fold / "masks" / "fold1" / "masks.npy").stat().st_size
        runs: dict[str, list[tuple[float, float, int]]] = {"loop": [], "1": [], "2": []}
        for _ in range(options.rounds):
            runs["loop"].append(measured(LOOP, str(fold)))
            for workers in ("1", "2"):
                runs[workers].append(measured(INGEST, str(fold), f"{folder}/fold.celltable", workers))
        assert len({run[2] for each in runs.values() for run in each}) == 1  # the same cells
    usual = statistics.median(run[0] for run in runs["loop"])
    print(f"{size / 1e9:.2f} GB of masks, {runs['loop'][0][2]:,} nuclei")
    print(f"loop over channels and ids   {usual:8.2f} s  {max(r[1] for r in runs['loop']):6.2f} GB")
    for workers in ("1", "2"):
        seconds, peak = statistics.median(r[0] for r in runs[workers]), max(r[1] for r in runs[workers])
        ratio = usual / seconds
        print(f"celltable ingest, {workers} workers  {seconds:8.2f} s  {peak:6.2f} GB  {ratio:5.1f}× (target 10)")
    print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
