"""The parts of an unfinished store, which let an interrupted ingest resume and become the final tables."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from celltable import schema
from celltable.cells import Finding, Image, Instances, Sample, findings_table, images_table, instances_table
from celltable.disk import lock, plain_os_errors
from celltable.errors import StoreError

from ._tables import classes_in, write_instances, write_table

_KINDS = ("images", "instances", "findings")


class Parts:
    """Samples written so far, in ``<folder>/NNNNNN.<table>.arrow``; a part counts once its images file is in place."""

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        self.folder = folder
        self._fingerprint = json.dumps(fingerprint, sort_keys=True, ensure_ascii=False)
        self._handle: int | None = None
        self._images: list[tuple[Image, int]] = []
        self._cells: list[tuple[str, Instances]] = []
        self._findings: list[Finding] = []
        self.pending_cells = 0
        self._count = 0
        self.done = 0

    @property
    def pending_images(self) -> int:
        return len(self._images)

    @property
    def final(self) -> Path:
        """The folder that becomes the store; like the parts, it survives an interruption."""
        path = self.folder / "store"
        path.mkdir(exist_ok=True)
        return path

    def lock(self) -> None:
        """Lock the folder for this process, and find what an interrupted run of the same request left."""
        self._handle = self._own_folder()
        request = self.folder / "request.json"
        if not request.exists() or request.read_text(encoding="utf-8") != self._fingerprint:
            for entry in self.folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            with plain_os_errors(self.folder):
                request.write_text(self._fingerprint, encoding="utf-8")
        while self._path("images", self._count).exists():
            self.done += pa.ipc.open_file(pa.memory_map(str(self._path("images", self._count)))).read_all().num_rows
            self._count += 1

    def _own_folder(self) -> int:
        """Create and lock the folder; another process may remove it between the two steps."""
        while True:
            with plain_os_errors(self.folder):
                self.folder.mkdir(exist_ok=True)
                try:
                    handle = lock(self.folder)
                except FileNotFoundError:
                    continue
            if self.folder.exists() and os.path.samestat(os.fstat(handle), self.folder.stat()):
                return handle
            os.close(handle)

    def unlock(self) -> None:
        """Release the folder, leaving what was written for the next run; remove it if it is empty."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        if self.folder.exists() and self._count == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def append(self, sample: Sample) -> None:
        n = len(sample.instances)
        self._images.append((sample.image, n))
        self._findings.extend(sample.findings)
        self.pending_cells += n
        if n:
            self._cells.append((sample.image.image_id, sample.instances))

    def flush(self) -> None:
        """Write what is pending as one part; its images file comes last and makes the part count."""
        if not self._images:
            return
        tables = {
            "instances": instances_table(self._cells),
            "findings": findings_table(self._findings),
            "images": images_table(self._images),
        }
        for kind, table in tables.items():
            path = self._path(kind, self._count)
            partial = path.with_suffix(".partial")
            with pa.OSFile(str(partial), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            os.replace(partial, path)
        self._count += 1
        self._images, self._cells, self._findings, self.pending_cells = [], [], [], 0

    def assemble(self, folder: Path, findings: pa.Table | None) -> tuple[str, ...]:
        """Write the final images, instances and findings, sorted by image regardless of the order of the samples.

        Returns the classes of the cells, by name.
        """
        images = self._read("images")
        first = [0]
        for n in images.column("n_instances").to_pylist():
            first.append(first[-1] + n)
        ids = images.column("image_id").to_pylist()
        order = sorted(range(len(ids)), key=ids.__getitem__)
        _refuse_duplicates(ids, order)
        images = images.take(order)
        write_table(folder / "images.parquet", images)
        instances = self._read("instances")
        write_instances(folder / "instances.parquet", images, _in_order(instances, order, first))
        found = pa.concat_tables([self._read("findings"), *([] if findings is None else [findings])])
        write_table(
            folder / "findings.parquet",
            found.sort_by([(n, "ascending") for n in ("image_id", "instance_id", "rule", "message")]),
        )
        return classes_in(instances)

    def seal(self) -> None:
        """Prevent later runs from resuming with these parts, because the final folder is about to be moved."""
        (self.folder / "request.json").unlink()

    def discard(self) -> None:
        """Remove the parts once the store is in place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, kind: str, part: int) -> Path:
        return self.folder / f"{part:06d}.{kind}.arrow"

    def _read(self, kind: str) -> pa.Table:
        """Memory-map all parts of a table."""
        parts = [pa.ipc.open_file(pa.memory_map(str(self._path(kind, i)))).read_all() for i in range(self._count)]
        return pa.concat_tables([schema.empty(kind), *parts])


def _in_order(instances: pa.Table, order: list[int], first: list[int]) -> Iterator[pa.Table]:
    """Yield the instances of each image in sorted order; a single slice if they are already sorted."""
    if order == list(range(len(order))):
        yield instances
        return
    for position in order:
        yield instances.slice(first[position], first[position + 1] - first[position])


def _refuse_duplicates(ids: list[str], order: list[int]) -> None:
    for a, b in pairwise(order):
        if ids[a] == ids[b]:
            raise StoreError(f"two images have the id '{ids[a]}'; expected unique image ids.")
