"""One changed cell in a store of a million: repair and undo of one image, and one edit as made by a viewer.

The store is generated: images of 300 cells of about 100 px², the first with a hole. Times are those of the calls,
each in its own process, including opening the store; memory is the growth of the process's peak during the call.
Run: python benchmarks/bench_edit.py [cells]
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

PER_IMAGE, SIZE, ROUNDS = 300, (512, 704), 5


def generate(path: Path, cells: int) -> None:
    """Write a store of discs that do not touch."""
    from celltable.store import StoreWriter

    try:
        from celltable.cells import Image, Instances, Sample
    except ImportError:  # earlier versions, to compare with
        from celltable.records import Image, Instances, Sample

    y, x = np.mgrid[-6:7, -6:7]
    disc = x * x + y * y <= 33
    masks = np.zeros((PER_IMAGE, *SIZE), bool)
    for k in range(PER_IMAGE):
        top, left = 20 * (k // 30) + 3, 20 * (k % 30) + 3
        masks[k, top : top + 13, left : left + 13] = disc
    whole = Instances.from_masks(masks, SIZE)
    masks[0, 9, 9] = False
    holed = Instances.from_masks(masks, SIZE)
    with StoreWriter(path, {}) as writer:
        for k in range(cells // PER_IMAGE):
            writer.append(Sample(Image(f"image {k:05d}", *SIZE), whole if k else holed))
        writer.finish({"name": "generated"})


def measured(call: Callable[[], object]) -> tuple[float, float, float]:
    """Return seconds, CPU seconds and growth of the peak memory (MB) of a call in its own process."""
    receive, send = os.pipe()
    if os.fork() == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started, used = time.perf_counter(), time.process_time()
        call()
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        os.write(send, f"{seconds} {cpu} {grown}".encode())
        os._exit(0)
    os.close(send)
    os.wait()
    seconds, cpu, grown = os.read(receive, 100).split()
    os.close(receive)
    return float(seconds), float(cpu), float(grown)


def row(label: str, runs: list[tuple[float, float, float]]) -> None:
    seconds, cpu, grown = (statistics.median(r[k] for r in runs) for k in (0, 1, 2))
    print(f"{label:52}{seconds * 1e3:10.1f} ms {cpu * 1e3:10.1f} ms of CPU {grown:8.0f} MB more")


def main() -> None:
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 1_200_000
    import celltable as ct

    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {cells:,} cells")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.celltable"
        generate(path, cells)
        small = Path(folder) / "small.celltable"
        generate(small, PER_IMAGE)
        ct.repair(small, rules=["fill-holes"], workers=1)  # imports what the calls need
        ct.undo(small)
        times: dict[str, list[tuple[float, float, float]]] = {}
        for _ in range(ROUNDS):
            mend = measured(lambda: ct.repair(path, rules=["fill-holes"], images=["image 00000"], workers=1))
            times.setdefault("ct.repair of one image, one cell changed", []).append(mend)
            times.setdefault("ct.undo", []).append(measured(lambda: ct.undo(path)))
        for label, runs in times.items():
            row(label, runs)
        if hasattr(ct.Store, "edit"):
            viewer(path)


def viewer(path: Path) -> None:
    """Change one cell in an open store, as a mask editor would."""
    import celltable as ct
    from celltable.cells import Edit
    from celltable.store.edits import edits_table

    store = ct.open(path)
    times, cpu, reads = [], [], []
    for n in range(1, 21):
        cell = store["image 00100"].instances.take([n])
        started, used = time.perf_counter(), time.process_time()
        made = Edit("by-hand", "image 00100", int(cell.ids[0]), "removed in the viewer", cell, None)
        store = store.edit(edits_table([made]), done="viewer")
        times.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
        started = time.perf_counter()
        remaining = len(store["image 00100"].instances)
        reads.append(time.perf_counter() - started)
    each = statistics.median(times), statistics.median(cpu)
    print(f"{'Store.edit of one cell':52}{each[0] * 1e3:10.1f} ms {each[1] * 1e3:10.1f} ms of CPU")
    print(f"{'  the image read after it':52}{statistics.median(reads) * 1e3:10.1f} ms ({remaining} cells)")
    started = time.perf_counter()
    store.compact()
    print(f"{'Store.compact':52}{(time.perf_counter() - started) * 1e3:10.1f} ms")


if __name__ == "__main__":
    main()
