"""Time of each writer, compared with the time that the encoding library needs for the same bytes.

    python benchmarks/bench_formats.py

One run writes a generated data set in each format while every call of an encoder (imagecodecs, tifffile, csv, pyarrow,
scipy, zlib) is recorded with its arguments. The calls are then replayed alone. JSON, which celltable writes itself, is
read back into objects, and the time is added that msgspec, the quickest library for Python objects, needs to encode
these in the same layout. Text without such a library (XML of Aperio, lines of YOLO) counts as bytes to be written only.
With the time to write the files, that is the floor. Everything else a writer does (flattening, run lengths, outlines,
rows) is the rest of its time. The ratio is writer over floor on one thread: the median over ROUNDS interleaved rounds.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import imagecodecs
import msgspec
import numpy as np
import pyarrow.parquet as pq
import scipy.io
import tifffile

from celltable import plugins
from celltable.cells import Image, Instances, Sample

ROUNDS = 5
IMAGES, CELLS, SIZE = 8, 300, (520, 704)
Calls = list[Callable[[], object]]


def data_set(size: tuple[int, int] = SIZE, cells: int = CELLS) -> list[Sample]:
    """Generate smooth noisy images with as many discs as a LIVECell image has cells."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: size[0], : size[1]]
    found = []
    for k in range(IMAGES):
        labels = np.zeros(size, np.int32)
        for i in range(1, cells + 1):
            row, column, radius = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(6, 14)
            top, left = max(int(row - radius), 0), max(int(column - radius), 0)
            window = np.s_[top : int(row + radius) + 1, left : int(column + radius) + 1]
            labels[window][(y[window] - row) ** 2 + (x[window] - column) ** 2 <= radius**2] = i
        grey = 90 + 60 * (labels > 0) + rng.normal(0, 6, size)
        pixels = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        made = Instances.from_label_map(labels, class_name="Neoplastic", score=None, source_id=None)
        found.append(Sample(Image(f"image{k}", *size), made, load_pixels=lambda p=pixels: p))
    return found


@contextmanager
def recorded(calls: Calls) -> Iterator[None]:
    """Record every encoder call of the block, to replay it."""

    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if function is tifffile.imwrite or function is scipy.io.savemat:
                calls.append(lambda: function(io.BytesIO(), *args[1:], **kwargs))
            else:
                calls.append(lambda: function(*args, **kwargs))
            return function(*args, **kwargs)

        return wrapper

    class Rows:
        def __init__(self, stream: Any, **options: Any) -> None:
            self.real, self.copy = csv_writer(stream, **options), csv_writer(io.StringIO(), **options)

        def writerow(self, row: Any) -> None:
            self.real.writerow(row)
            calls.append(lambda: self.copy.writerow(row))

        def writerows(self, rows: Any) -> None:
            for row in rows:
                self.writerow(row)

    csv_writer, write_table = csv.writer, pq.ParquetWriter.write_table

    def table(self: Any, rows: Any, *args: Any) -> None:
        calls.append(lambda: pq.write_table(rows, io.BytesIO(), compression="zstd"))
        write_table(self, rows, *args)

    with ExitStack() as stack:
        for owner, name in (
            *((imagecodecs, n) for n in ("png_encode", "jpeg8_encode", "zlib_encode")),
            *((tifffile, "imwrite"), (scipy.io, "savemat"), (zlib, "compress")),
        ):
            stack.enter_context(mock.patch.object(owner, name, keep(getattr(owner, name))))
        stack.enter_context(mock.patch.object(csv, "writer", Rows))
        stack.enter_context(mock.patch.object(pq.ParquetWriter, "write_table", table))
        yield


def seconds(function: Callable[[], object]) -> float:
    """Measure the processor time of one call, which load on the machine disturbs less than wall time."""
    start = time.process_time()
    function()
    return time.process_time() - start


def written_floor(folder: Path) -> Callable[[], None]:
    """Time writing the same bytes to files of the same names, and nothing else."""
    files = [(p.relative_to(folder), p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()]

    def again() -> None:
        with tempfile.TemporaryDirectory() as other:
            for name, data in files:
                path = Path(other) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)

    return again


def json_encoders(folder: Path) -> Calls:
    """Time encoding the contents of a folder's JSON files in the same layout."""
    return [_encoder_of(p.read_bytes()) for p in sorted(folder.rglob("*")) if p.suffix in (".json", ".geojson")]


def _encoder_of(data: bytes) -> Callable[[], object]:
    document = msgspec.json.decode(data)
    if data.startswith(b"{\n "):
        return lambda: msgspec.json.format(msgspec.json.encode(document), indent=1)
    return lambda: msgspec.json.encode(document)


def measure(name: str, samples: list[Sample], rounds: int) -> tuple[float, float, float, float]:
    """Return the median seconds of the writer, of its encoders alone and of writing its files alone, and the ratio."""
    form = plugins.load("formats", name)
    with tempfile.TemporaryDirectory() as folder:
        count = iter(range(10**6))
        calls: Calls = []

        def write() -> Path:
            out = Path(folder) / f"out{next(count)}" / ("x" + "".join(form.extensions[:1]))
            out.parent.mkdir()
            form.write(iter(samples), out)
            return out.parent

        with recorded(calls):
            made = write()
        again = written_floor(made)
        calls += json_encoders(made)
        if name == "dsb-csv":  # it writes its lines itself
            text = next(made.rglob("*.csv")).read_text()
            calls = [lambda: csv.writer(io.StringIO()).writerows(csv.reader(io.StringIO(text)))]
        times: list[tuple[float, float, float, float]] = []
        for _ in range(rounds):
            wrote, encoded, files = seconds(write), seconds(lambda: [c() for c in calls]), seconds(again)
            times.append((wrote, encoded, files, wrote / (encoded + files)))
        wrote, encoded, files, ratio = (statistics.median(column) for column in zip(*times, strict=True))
        return wrote, encoded, files, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("formats", nargs="*", help="formats to measure (all)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    samples = data_set()
    print(f"{IMAGES} images of {SIZE[0]} × {SIZE[1]}, {CELLS} cells each; medians of {args.rounds} rounds, ms")
    print(f"{'format':18}{'writer':>9}{'encoder':>9}{'files':>9}{'ratio':>8}")
    for name in args.formats or plugins.names("formats"):
        if plugins.load("formats", name).write is None:
            continue
        writer, encoder, files, ratio = measure(name, samples, args.rounds)
        print(f"{name:18}{writer * 1e3:9.1f}{encoder * 1e3:9.1f}{files * 1e3:9.1f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
