"""Convert between stores and annotation formats: export and import."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from celltable import plugins, work
from celltable.cells import Image, Sample
from celltable.disk import exchange, plain_os_errors, staging
from celltable.errors import CelltableError, NotFoundError
from celltable.imagefile import open_release
from celltable.plugins.format import About, ConversionReport, Format, detect, readable_format
from celltable.plugins.options import settle
from celltable.store import Description, Source, Store, StoreWriter, as_store, derive
from celltable.version import VERSION

from ._ahead import read_ahead
from .ingest import provenance, source_key

FIGURE: Final = "statistics.svg"
OWN: Final = "images"  # key of the images' store as a source, if it contains copies of the pixels
NOT_STATED: Final = "not stated"


def export(
    store: Store | str | Path | Sequence[Store | str | Path],
    to: str,
    out: str | Path,
    *,
    where: str | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    how: work.How = "threads",
    scheduler: str | None = None,
    progress: bool = False,
    **options: Any,
) -> ConversionReport:
    """Write one or more stores in another format, and report what the format could not hold.

    Parameters
    ----------
    store
        A store or its path, or several of them that have no image id in common.
    to
        Name of the format; ``celltable export --list`` shows all.
    out
        The file or folder to write; it is written atomically.
    where
        SQL condition on the images table, for example ``split = 'test'``.
    overwrite
        Replace whatever is at `out`.
    workers, how, scheduler
        Number of workers that read cells and pixels ahead of the writer (None: one per core), and where they run; see
        `celltable.work.Runner`. The files themselves are encoded and written by this process, one image at a time.
    progress
        Draw a progress bar on a terminal.
    **options
        Options for writing the format.
    """
    runner = work.Runner(workers, how, scheduler)
    given = [store] if isinstance(store, Store | str | Path) else list(store)
    stores = [as_store(s) for s in given]
    plugin: Format = plugins.load("formats", to)
    if plugin.write is None:
        raise CelltableError(f"{plugin.name} can be read but not written. Writable: {', '.join(writable())}.")
    settled = settle(plugin.write_options, options, f"the format {plugin.name}")
    target = Path(out)
    if target.exists() and not overwrite:
        raise CelltableError(f"{target} already exists. Choose another name, or use --overwrite to replace it.")
    ids = _of_each(stores, where)
    _distinct(stores, ids)
    with closing(read_ahead(stores, ids, runner)) as samples:
        shown = work.track(samples, f"writing {plugin.name}", sum(map(len, ids))) if progress else samples
        write = partial(plugin.write, shown, overwrite=overwrite, **settled)
        return _with_figure(write, stores, target) if plugin.figure else write(target)


def default_name(stores: Sequence[str | Path], to: str) -> Path:
    """Name the default output of an export: ``<store>-<format>`` in the current folder, with the format's extension.

    >>> default_name(["data/dsb.celltable"], "coco"), default_name(["a.celltable", "b.celltable"], "nuclei-coco")
    (PosixPath('dsb-coco.json'), PosixPath('nuclei-coco'))
    """
    plugin: Format = plugins.load("formats", to)
    stem = f"{Path(stores[0]).resolve().stem}-" if len(stores) == 1 else ""
    return Path(stem + plugin.name + "".join(plugin.extensions[:1]))


def _of_each(stores: Sequence[Store], where: str | None) -> list[list[str]]:
    """Select the image ids of each store; at least one image must meet the condition."""
    ids: list[list[str]] = []
    missing: NotFoundError | None = None
    for ds in stores:
        try:
            ids.append(selected(ds, where))
        except NotFoundError as exc:
            missing = exc
            ids.append([])
    if missing is not None and not any(ids):
        raise missing
    return ids


def _distinct(stores: Sequence[Store], ids: Sequence[Sequence[str]]) -> None:
    """Refuse stores that share an image id, since one image would overwrite the other."""
    seen: dict[str, Store] = {}
    for ds, names in zip(stores, ids, strict=True):
        twice = next((i for i in names if i in seen), None)
        if twice is not None:
            raise CelltableError(
                f"the image '{twice}' is in both {seen[twice].path} and {ds.path}. Combine them into one store first, "
                "in which every image has its own name: celltable merge."
            )
        seen.update(dict.fromkeys(names, ds))


def _with_figure(write: Callable[[Path], ConversionReport], stores: Sequence[Store], target: Path) -> ConversionReport:
    """Write a folder together with plots of its statistics; both appear at the same moment."""
    from celltable.drawing.statistics import statistics

    licences = "; ".join(dict.fromkeys(ds.description.licence or "not stated" for ds in stores))
    with plain_os_errors(target), staging(target) as around:
        made = around / target.name
        report = write(made)
        figure = statistics(
            pa.concat_tables(ds.images.arrow for ds in stores),
            pa.concat_tables(ds.columns("image_id", "instance_id", "area", "class_name").arrow for ds in stores),
            report.parts,
            report.left_out,
            title=" + ".join(ds.description.title or ds.name for ds in stores),
            note=f"Areas and density are those of the source images. Licence: {licences}.",
        )
        (made / FIGURE).write_text(figure, encoding="utf-8")
        report.written["files"] += 1
        if target.is_file():
            target.unlink()
        exchange(made, target)
    return report


def import_annotations(
    form: str | None,
    path: str | Path,
    out: str | Path,
    *,
    images: Store | str | Path | None = None,
    name: str | None = None,
    licence: str = NOT_STATED,
    overwrite: bool = False,
    progress: bool = False,
    **options: Any,
) -> Store:
    """Make a store from annotations or predictions in any known format.

    The classes of the new store are those of the images' store, then those that the file lists, in the file's order
    (COCO categories, YOLO's ``data.yaml``, …), then any others that occur, sorted by name.

    Parameters
    ----------
    form
        Name of the format; None to detect it from the content.
    path
        The file or folder to read.
    out
        Folder of the store to write.
    images
        The annotated images: a store, or a path in any readable format. Provides sizes and pixels for formats that have
        none; annotations of other images are refused.
    name, licence
        Name and licence for dataset.json; by default taken from `images` and from the file.
    overwrite, progress
        Replace a store at `out`; draw a progress bar.
    **options
        Options for reading the format.

    Raises
    ------
    InputError
        If the format is not given and cannot be detected, or an option is invalid.
    """
    source = Path(path)
    if form is None:
        plugin = detect(source)
    else:
        plugin = readable_format(form)
        if not source.exists():
            raise NotFoundError(f"{source}: expected a file or folder in {plugin.title} format, found nothing.")
    settled = settle(plugin.read_options, options, f"the format {plugin.name}")
    base = _base(images, Path(out))
    request = {"import": plugin.name, "path": str(source.resolve()), "options": {k: str(v) for k, v in settled.items()}}
    with StoreWriter(out, request, overwrite=overwrite) as writer:
        reading = _Reading(plugin, source, base.images, settled)
        for position, sample in enumerate(work.track(reading, f"reading {plugin.name}") if progress else reading):
            if position >= writer.done:
                writer.append(sample)
        sources = base.description.sources | _sources(source, plugin.name, reading.placed, Path(out))
        info = _describe(base.description, reading, licence).replaced(
            name=name or source.stem,
            title=reading.about.title or f"{source.name} ({plugin.title})",
            sources=sources,
            reader={"format": plugin.name, "celltable": VERSION},
            history=(f"imported from {source.name} as {plugin.name}",),
        )
        return writer.finish(info)


def _describe(base: Description, reading: _Reading, licence: str) -> Description:
    """Describe an import: first from the images' description, then from the file's header, then from its content."""
    about = reading.about
    stated = None if licence == NOT_STATED else licence
    return base.replaced(
        licence=base.licence or stated or about.licence or NOT_STATED,
        non_commercial=base.non_commercial or about.non_commercial,
        citation=base.citation or about.citation,
        modality=base.modality or tuple(sorted(reading.modalities)),
        target=tuple(sorted(reading.kinds, reverse=True)) or base.target,
        classes=tuple(dict.fromkeys((*base.classes, *about.classes, *sorted(reading.classes)))),
        channels=base.channels or tuple(reading.channels),
    )


class _Reading:
    """Iterates over the samples of a file, locates their pixels, and notes the classes and sources that occur."""

    def __init__(self, plugin: Format, path: Path, known: Mapping[str, Image], options: Mapping[str, Any]) -> None:
        self.plugin, self.path, self.known, self.options = plugin, path, known, options
        self.about = About()
        self.placed: set[str] = set()  # sources of pixels
        self.classes: set[str] = set()
        self.kinds: set[str] = set()
        self.modalities: set[str] = set()
        self.channels: dict[str, None] = {}

    def __iter__(self) -> Iterator[Sample]:
        self.about = (yield from self._samples()) or About()

    def _samples(self) -> Generator[Sample, None, About | None]:
        assert self.plugin.read is not None
        reading = iter(self.plugin.read(self.path, self.known, **self.options))
        while True:
            try:
                sample = next(reading)
            except StopIteration as end:
                return end.value if isinstance(end.value, About) else None
            self._note(sample)
            known = sample.image.image_id in self.known
            yield _beside(sample) if known else _located(sample, self.plugin.name, self.placed)

    def _note(self, sample: Sample) -> None:
        cells = sample.instances
        if len(cells):
            self.kinds |= set(_values(cells.kind)) - {None}
            self.classes |= set(_values(cells.class_name)) - {None}
        for names in cells.class_names or ():
            self.classes.update(names or ())
        self.channels.update(dict.fromkeys(sample.image.channels))
        if sample.image.modality:
            self.modalities.add(sample.image.modality)


def _values(column: Any) -> Iterable[Any]:
    return (column,) if column is None or isinstance(column, str) else column


def _beside(sample: Sample) -> Sample:
    """Make the sample of a known image; pixels in its store's folder become pixels of a source of the new store."""
    pixels = tuple(replace(p, source=p.source or OWN) for p in sample.image.pixels)
    return replace(sample, image=replace(sample.image, pixels=pixels))


@dataclass(frozen=True, slots=True)
class _Base:
    """The images that annotations are imported for, and their description."""

    images: Mapping[str, Image] = field(default_factory=dict)
    description: Description = field(default_factory=Description)


def _base(given: Store | str | Path | None, out: Path) -> _Base:
    """Read the images of a store, or of a path in any readable format."""
    if given is None:
        return _Base()
    if isinstance(given, Store) or (Path(given) / "dataset.json").exists():
        store = as_store(given)
        derived = derive(store, out, own=OWN).replaced(kind="annotations", model=None, of={})
        return _Base({i: store.image(i) for i in store}, derived)
    path = Path(given)
    plugin = detect(path)
    assert plugin.read is not None
    form, placed = f"{plugin.name}-images", set[str]()
    samples = [_located(sample, form, placed).image for sample in plugin.read(path, {})]
    return _Base({image.image_id: image for image in samples}, Description(sources=_sources(path, form, placed, out)))


def _located(sample: Sample, form: str, placed: set[str]) -> Sample:
    """Move a sample's pixels to the source keys of `_sources`, and add those keys to `placed`."""
    placed.update(p.source for p in sample.image.pixels)
    pixels = tuple(replace(p, source=source_key(form, p.source)) for p in sample.image.pixels)
    return replace(sample, image=replace(sample.image, pixels=pixels))


def _sources(source: Path, form: str, keys: Collection[str], out: Path) -> dict[str, Source]:
    """Describe where the pixels of imported images are."""
    if not keys:
        return {}
    with open_release(source) as release:
        hashes = release.hash_sources()
        return {source_key(form, s.key): provenance(s, hashes, out) for s in release.sources if s.key in keys}


def selected(ds: Store, where: str | None) -> list[str]:
    """Return the ids of the images that meet an SQL condition, in order; all of them without one."""
    if where is None:
        return list(ds)
    ids = ds.query(f"select image_id from images where {where} order by image_id").arrow.column(0).to_pylist()
    if not ids:
        raise NotFoundError(f"no image meets the condition {where}; expected at least one of {len(ds):,}.")
    return [str(i) for i in ids]


def writable() -> list[str]:
    """List the formats that can be written."""
    return [name for name, plugin in plugins.load_all("formats").items() if plugin.write is not None]
