"""Masks of the Data Science Bowl release to run lengths: the usual script against celltable, in one run.

    python benchmarks/bench_ingest_masks.py [stage1_train.zip] [--share 8] [--rounds 5]

The usual script opens each mask of the unzipped tree with PIL, encodes it with pycocotools and writes JSON, in one
process. celltable reads the same masks, from the same tree and straight from the zip, with every checksum verified.
Rounds are interleaved; medians and their ratios are printed once all results are found to be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from celltable.imagefile import MaskBatch, open_release

SHARED = Path(os.environ.get("CELLTABLE_SHARED", Path(__file__).resolve().parents[1].parent / "shared"))
DEFAULT = SHARED / "data" / "dsb2018" / "stage1_train.zip"
PATTERN = r"[0-9a-f]{64}/masks/[^/]+\.png"


def the_usual_way(tree: Path) -> list[str]:
    """Do what most ingest scripts do, with PIL, numpy, pycocotools and json."""
    records = []
    for image in sorted(tree.iterdir()):
        for path in sorted((image / "masks").iterdir()):
            mask = np.array(Image.open(path)) > 0
            rle = coco.encode(np.asfortranarray(mask))
            record = {"image": image.name, "counts": rle["counts"].decode(), "size": rle["size"]}
            record |= {"area": int(coco.area(rle)), "bbox": coco.toBbox(rle).tolist()}
            records.append(record)
    (tree.parent / "usual.json").write_text(json.dumps(records))
    return [r["counts"] for r in records]


def ours(path: Path, workers: int) -> MaskBatch:
    """Open, list, match and read: everything from the path to run lengths, areas and boxes."""
    with open_release(path) as release:
        return release.read_masks((entry for entry, _ in release.match(PATTERN)), workers)


def unzipped(archive: Path, share: int, folder: Path) -> Path:
    """Write every share-th image of the release as a tree, and as a zip like the published one (stored)."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(folder / "part.zip", "w") as part:
        wanted = set(sorted({n.split("/")[0] for n in source.namelist()})[::share])
        names = [n for n in source.namelist() if n.split("/")[0] in wanted]
        source.extractall(folder / "tree", names)
        for name in names:
            part.writestr(name, source.read(name))
    return folder / "tree"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", nargs="?", type=Path, default=DEFAULT)
    parser.add_argument("--share", type=int, default=8, help="read one image in this many (default 8)")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not options.archive.exists():
        sys.exit(f"{options.archive} does not exist; pass the path of stage1_train.zip.")
    with tempfile.TemporaryDirectory() as folder:
        tree = unzipped(options.archive, options.share, Path(folder))
        part = tree.parent / "part.zip"
        ways: dict[str, Callable[[], object]] = {
            "PIL + pycocotools + json, tree, 1 process": lambda: the_usual_way(tree),
            "celltable, tree, 1 thread": lambda: ours(tree, 1),
            "celltable, tree, 2 threads": lambda: ours(tree, 2),
            "celltable, zip, 1 thread": lambda: ours(part, 1),
            "celltable, zip, 2 threads": lambda: ours(part, 2),
        }
        report(ways, measured(ways, options.rounds), agreement(tree, part))
        one, two = (timed(partial(ours, options.archive, workers)) for workers in (1, 2))
        print(f"the whole zip: {one * 1e3:.0f} ms with 1 thread, {two * 1e3:.0f} ms with 2")


def agreement(tree: Path, part: Path) -> int:
    """Check that all methods give the same bytes; return the number of masks."""
    usual = [c.encode() for c in the_usual_way(tree)]
    for batch in (ours(tree, 1), ours(tree, 2), ours(part, 1), ours(part, 2)):
        if batch.counts != usual:
            sys.exit("the run lengths differ from those of pycocotools")
    return len(usual)


def measured(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Interleave rounds, so that other load on the machine affects all methods equally."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            times[name].append(timed(run))
    return times


def timed(run: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def report(ways: dict[str, Callable[[], object]], times: dict[str, list[float]], masks: int) -> None:
    """Print one line per method."""
    first = statistics.median(times[next(iter(ways))])
    print(f"{masks:,} masks, equal bytes from all; medians of {len(times[next(iter(ways))])} rounds")
    for name in ways:
        median = statistics.median(times[name])
        print(f"{name:<44} {median * 1e3:9.1f} ms {first / median:7.1f} x")


if __name__ == "__main__":
    main()
