"""Read a published release into a store with any number of workers; an interrupted run is resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from celltable import plugins, work
from celltable.cells import Finding, Pixels, Sample, findings_table
from celltable.errors import ArchiveError, CelltableError, ReleaseError
from celltable.imagefile import Release, ReleaseReference, Source, open_release
from celltable.plugins.dataset import Dataset, Scan
from celltable.store import Description, Store, StoreWriter
from celltable.store import Source as StoredSource
from celltable.version import VERSION


def ingest(
    dataset: str,
    path: str | Path,
    out: str | Path,
    *,
    parts: Sequence[str] = (),
    copy: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    how: work.How = "threads",
    scheduler: str | None = None,
    progress: bool = False,
) -> Store:
    """Read a release, as published, into a store.

    Parameters
    ----------
    dataset
        Name of the data set's reader; ``celltable datasets`` lists them.
    path
        The release: an archive as downloaded, or a folder, which may be one level too high or too low.
    out
        Folder of the store to write; it appears only once the store is complete.
    parts
        Parts of the release to read; all that are found if empty.
    copy
        Copy the pixels into the store, so that it no longer needs the release.
    overwrite
        Replace an existing store at `out`; the old one stays until the new one is complete.
    workers, how, scheduler
        Number of workers (None: one per core) and where they run, see `celltable.work.Runner`. The result is the same,
        byte for byte. If the annotations of a release are one file (JSON, CSV), each process reads it for itself.
    progress
        Draw a progress bar on a terminal.

    Raises
    ------
    UnknownPluginError, ReleaseError, ArchiveError, StoreError
        The message says in one sentence what to do. Defects of single images or cells become findings instead.
    """
    runner = work.Runner(workers, how, scheduler)
    reader: Dataset = plugins.load("datasets", dataset)
    _known_parts(reader, parts)
    with open_release(path) as release, work.background(release.hash_sources) as hashed:
        request = {"dataset": reader.name, "release": _stamp(release), "parts": list(parts), "copy": copy}
        writer = StoreWriter(out, {**request, "celltable": VERSION}, overwrite=overwrite)
        with writer:
            scan = reader.scan(release, tuple(parts))
            if not scan.items:
                raise ReleaseError(_nothing(reader, release))
            load = Loader(reader, release, tuple(parts), scan, writer.extra.resolve() if copy else None)
            label = f"reading {reader.name}" if progress else None
            for sample in runner.map(load, scan.items[writer.done :], progress=label):
                writer.append(sample)
            info = describe(reader, hashed(), release, parts, Path(out))
            findings = findings_table([*scan.findings, *_junk(release)])
            return writer.finish(info, findings)


def _known_parts(reader: Dataset, parts: Sequence[str]) -> None:
    unknown = [p for p in parts if p not in reader.parts]
    if unknown:
        known = ", ".join(reader.parts) or "none: it is read whole"
        raise CelltableError(f"{reader.name} has no part '{unknown[0]}'. Its parts: {known}.")


@dataclass(frozen=True, slots=True)
class LoaderReference(work.Reference["Loader"]):
    """Recreates the same `Loader` in another process by reading what the items share from the release there."""

    reader: str
    release: ReleaseReference
    parts: tuple[str, ...]
    copy: Path | None

    def open(self) -> Loader:
        reader: Dataset = plugins.load("datasets", self.reader)
        release = work.opened(self.release)
        return Loader(reader, release, self.parts, reader.scan(release, self.parts), self.copy)


@dataclass(frozen=True, slots=True)
class Loader:
    """Reads one item of a release as a sample that no longer needs the release: its pixels are located, not loaded."""

    reader: Dataset
    release: Release
    parts: tuple[str, ...]
    scan: Scan
    copy: Path | None

    def __call__(self, item: Any) -> Sample:
        sample = self.reader.load(self.release, self.scan.shared, item)
        published = sample.image.pixels
        pixels = tuple(replace(p, source=source_key(self.reader.name, p.source)) for p in published)
        image = replace(sample.image, dataset=self.reader.name, pixels=pixels)
        sample = replace(sample, image=image, load_pixels=None)
        return sample if self.copy is None else self._copied(sample, published, self.copy)

    def _copied(self, sample: Sample, published: tuple[Pixels, ...], folder: Path) -> Sample:
        """Copy the pixels into the store; files that cannot be extracted from the archive become a finding."""
        from ._copy import copied

        try:
            pixels = copied(self.release, self.reader.name, published, folder)
        except ArchiveError as exc:
            finding = Finding("not-copied", f"the pixels were not copied: {exc}", "error", sample.image.image_id)
            return replace(sample, image=replace(sample.image, pixels=()), findings=(*sample.findings, finding))
        return replace(sample, image=replace(sample.image, pixels=pixels))

    def __reduce__(self) -> tuple[Any, ...]:
        return work.opened, (LoaderReference(self.reader.name, self.release.reference, self.parts, self.copy),)


def source_key(dataset: str, key: str) -> str:
    """Return the key of a source in dataset.json, which stays unique when data sets are merged."""
    return f"{dataset}:{key}"


def _nothing(reader: Dataset, release: Release) -> str:
    names = sorted({e.name.split("/")[0] for e in release.entries})
    found = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or "nothing"
    expected = reader.layout.strip().splitlines()[0].strip() if reader.layout.strip() else reader.title
    return (
        f"{reader.name} at {release.path}: expected {expected}, found {found}. "
        f"Pass the archive as downloaded or the folder that holds it; "
        f"`celltable datasets {reader.name}` shows the layout."
    )


def _stamp(release: Release) -> list[Any]:
    """Identify the state of a release without reading it, by the names, sizes and times of its files."""
    stamp = []
    for source in release.sources:
        stat = Path(source.path).stat()
        stamp.append([source.key, str(Path(source.path).resolve()), source.size, stat.st_mtime_ns])
    return stamp


def _junk(release: Release) -> Iterator[Finding]:
    for kind, n in sorted(release.ignored.items()):
        yield Finding("stray-file", f"{n:,} {kind} entries were ignored", "note", value=float(n))


def describe(
    reader: Dataset, hashes: Mapping[str, str], release: Release, parts: Sequence[str], out: Path
) -> Description:
    """Describe a release just read: what it is, its terms, and where every byte came from."""
    return Description(
        name=reader.name,
        title=reader.title,
        licence=reader.licence,
        non_commercial=reader.non_commercial,
        citation=reader.citation,
        doi=reader.doi,
        source=reader.source,
        modality=tuple(reader.modality),
        target=tuple(reader.target),
        classes=tuple(reader.classes),
        protocols=tuple(reader.protocols),
        leakage_group=reader.group,
        published_counts=tuple((part, what, n) for (part, what), n in sorted(reader.counts.items())),
        reader={"name": reader.name, "parts": list(parts), "celltable": VERSION},
        sources={source_key(reader.name, s.key): provenance(s, hashes, out) for s in release.sources},
    )


def provenance(source: Source, hashes: Mapping[str, str], out: Path) -> StoredSource:
    """Describe a source for a store at `out`, with its hash."""
    return StoredSource.at(source.path, out, size=source.size, sha256=hashes[source.key])
