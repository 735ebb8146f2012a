"""Two large label maps on disk, scored in strips of rows, against reading both whole: time and peak memory.

python benchmarks/bench_strips.py [--side 20000] [--packings plain,zlib,lzw,zstd]

Each run is a separate process with its own peak; files are in the page cache.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bench_metrics_scaling import METRICS, tissue

PACKINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "zlib": {"compression": "zlib", "rowsperstrip": 256},
    "lzw": {"compression": "lzw", "tile": (512, 512), "bigtiff": True},
    "zstd": {"compression": "zstd", "tile": (256, 256), "bigtiff": True},
}
STREAMED = "scores = ct.evaluate(sys.argv[1], sys.argv[2], metrics, rounds=0)"
WHOLE = """
import tifffile
scores = ct.evaluate(tifffile.imread(sys.argv[1]), tifffile.imread(sys.argv[2]), metrics, rounds=0)
"""
RUN = """
import sys, time
from pathlib import Path
import celltable as ct
from celltable.pipelines import evaluate
metrics = {metrics!r}
started = time.perf_counter()
{how}
took = time.perf_counter() - started
status = Path("/proc/self/status").read_text()  # ru_maxrss would be that of the process that started this one
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(took, peak, scores["det_ctc"].fields["n_ref"], [s.value for s in scores.values()])
"""


def measured(how: str, paths: list[Path]) -> tuple[float, int, int, str]:
    """Return the seconds, peak bytes, cells and scores of one run."""
    program = RUN.format(metrics=METRICS, how=how)
    ran = subprocess.run([sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True, check=True)
    took, peak, cells, scores = ran.stdout.split(maxsplit=3)
    return float(took), int(peak), int(cells), scores


def compared(name: str, side: int, folder: Path) -> None:
    """Write one packing, score it both ways, and print a line."""
    paths = [folder / f"{name}_{which}.tif" for which in ("gt", "pred")]
    for path, shift in zip(paths, (0, 2), strict=True):
        tifffile.imwrite(path, tissue(side, shift), **PACKINGS[name])
    both = 2 * side * side * np.dtype(np.uint32).itemsize
    strips, whole = measured(STREAMED, paths), measured(WHOLE, paths)
    if strips[2:] != whole[2:]:
        raise SystemExit(f"{name}: the scores differ: {strips[3]} by strips, {whole[3]} whole")
    size = sum(p.stat().st_size for p in paths)
    print(
        f"{name:6} {size / 1e6:9,.0f} {strips[2]:9,} {strips[0]:9.1f} {whole[0]:9.1f} {whole[0] / strips[0]:7.2f} "
        f"{strips[1] / 1e6:10,.0f} {whole[1] / 1e6:10,.0f} {strips[1] / both:9.2f} {whole[1] / both:9.2f}"
    )
    for path in paths:
        path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--packings", default=",".join(PACKINGS))
    chosen = parser.parse_args()
    print(f"{chosen.side:,} squared px, {len(METRICS)} label-map metrics; peaks also as shares of both maps")
    print(
        f"{'':6} {'MB files':>9} {'cells':>9} {'strips s':>9} {'whole s':>9} {'ratio':>7} {'strips MB':>10} "
        f"{'whole MB':>10} {'strips':>9} {'whole':>9}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.packings.split(","):
            compared(name, chosen.side, Path(folder))


if __name__ == "__main__":
    main()
