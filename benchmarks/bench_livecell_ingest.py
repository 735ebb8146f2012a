"""COCO at LIVECell's scale: ingest, statistics and one image of the store, against opening the file with pycocotools.

Each step is a separate process, whose seconds and peak memory are reported; imports count for the whole processes and
not for the calls. Nothing is left behind. Run: python benchmarks/bench_livecell_ingest.py [--scale 1] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from make_livecell_scale import make

PRELUDE = "import json, sys, time\nfrom pathlib import Path\n"
COCO = """
import contextlib, io
from pycocotools.coco import COCO
start = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    coco = COCO(sys.argv[1])
seconds = time.perf_counter() - start
"""
INGEST = """
start = time.perf_counter()
from celltable.pipelines.ingest import ingest
ingest("livecell", sys.argv[1], sys.argv[2], workers=2, overwrite=True)
seconds = time.perf_counter() - start
"""
STATISTICS = """
import celltable as ct
import celltable.pipelines.show
import numpy as np
start = time.perf_counter()
found = celltable.pipelines.show.summary(sys.argv[2])
seconds = time.perf_counter() - start
"""
ONE_IMAGE = """
import celltable as ct
ct.open
start = time.perf_counter()
ds = ct.open(sys.argv[2])
cells = ds[sys.argv[3]].instances
seconds = time.perf_counter() - start
assert len(cells) > 100
"""
REPORT = """
status = Path("/proc/self/status").read_text()
print(json.dumps([seconds, int(status.split("VmHWM:")[1].split()[0]) / 1e6]))
"""


def measured(script: str, *words: str) -> tuple[float, float]:
    """Return the seconds of the timed part and the peak memory (GB) of the process."""
    done = subprocess.run([sys.executable, "-c", PRELUDE + script + REPORT, *words], check=True, stdout=subprocess.PIPE)
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def median(script: str, rounds: int, *words: str) -> tuple[float, float]:
    """Return the medians of `rounds` processes."""
    runs = [measured(script, *words) for _ in range(rounds)]
    return statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)


def compare(work: Path, scale: float, rounds: int) -> None:
    """Run all steps on one generated file."""
    start = time.perf_counter()
    annotations = make(work, scale)
    release, store = str(work / "LIVECell_dataset_2021"), str(work / "livecell.celltable")
    print(f"{annotations.stat().st_size / 1e6:,.0f} MB of JSON made in {time.perf_counter() - start:.0f} s")
    ours = median(INGEST, rounds, release, store)
    size = sum(p.stat().st_size for p in Path(store).iterdir()) / 1e6
    image = sorted(r["file_name"] for r in _records(annotations))[1].removesuffix(".tif")
    numbers = median(STATISTICS, 5, release, store)
    one = median(ONE_IMAGE, 9, release, store, image)
    usual = median(COCO, rounds, str(annotations))
    print(f"pycocotools.COCO(path)        {usual[0]:10.3f} s   {usual[1]:6.2f} GB")
    lines = [
        ("ingest, two workers", ours, "2.5"),
        ("class and area statistics", numbers, "250"),
        ("one image's cells", one, "800"),
    ]
    for name, (seconds, peak), target in lines:
        ratio = f"{usual[0] / seconds:9.1f}× faster (target {target})"
        print(f"{name:28}  {seconds:10.4f} s   {peak:6.2f} GB  {ratio}, {usual[1] / peak:.0f}× less memory")
    print(f"the store takes {size:,.0f} MB")


def _records(annotations: Path) -> list[dict[str, str]]:
    with annotations.open(encoding="utf-8") as file:
        head = file.read(4_000_000).split('"images": ', 1)[1]
    found: list[dict[str, str]] = json.JSONDecoder().raw_decode(head)[0]
    return found


def main() -> None:
    """Generate, measure and remove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1 / 8)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), options.scale, options.rounds)
    print(f"load after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
