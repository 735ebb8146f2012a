"""Between stores and annotation formats: export writes one, import makes a store of one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from celltable import plugins, work
from celltable.cells import Image, Sample
from celltable.disk import exchange, plain_os_errors, staging
from celltable.errors import CelltableError, InputError, NotFoundError
from celltable.imagefile import open_release
from celltable.plugins.format import ConversionReport, Format
from celltable.store import Description, Source, Store, StoreWriter, as_store, derive
from celltable.version import VERSION

from .ingest import provenance, source_key

FIGURE: Final = "statistics.svg"
OWN: Final = "images"  # key of the store of the images, where that contains copies of the pixels


def export(
    store: Store | str | Path | Sequence[Store | str | Path],
    to: str,
    out: str | Path,
    *,
    where: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    **options: Any,
) -> ConversionReport:
    """Write a store, or several together, in another format and return what the format could not hold.

    Parameters
    ----------
    store
        A store or its path, or several of them, no two with an image id in common.
    to
        Name of the format; ``celltable export --list`` names all.
    out
        The file or folder to write, atomically.
    where
        SQL condition on the images table, for example ``split = 'test'``.
    overwrite
        Replace what is at `out`.
    progress
        Draw a progress bar on a terminal.
    **options
        Options of the format.
    """
    given = [store] if isinstance(store, Store | str | Path) else list(store)
    stores = [as_store(s) for s in given]
    kind: Format = plugins.load("formats", to)
    if kind.write is None:
        raise CelltableError(f"{kind.name} can be read but not written. Writable: {', '.join(writable())}.")
    _known_options(kind, options)
    target = Path(out)
    if target.exists() and not overwrite:
        raise CelltableError(f"{target} exists already. Give another name, or --overwrite to replace it.")
    ids = _of_each(stores, where)
    _distinct(stores, ids)
    samples: Iterator[Sample] = chain.from_iterable(ds.samples(i) for ds, i in zip(stores, ids, strict=True))
    if progress:
        samples = work.track(samples, f"writing {kind.name}", sum(map(len, ids)))
    if overwrite and "overwrite" in kind.options:
        options["overwrite"] = True
    write = partial(kind.write, samples, **options)
    return _with_figure(write, stores, target) if kind.figure else write(target)


def default_name(stores: Sequence[str | Path], to: str) -> Path:
    """Where an export goes that names no file: ``<store>-<format>`` in the current folder, with the format's ending.

    >>> default_name(["data/dsb.celltable"], "coco"), default_name(["a.celltable", "b.celltable"], "nuclei-coco")
    (PosixPath('dsb-coco.json'), PosixPath('nuclei-coco'))
    """
    kind: Format = plugins.load("formats", to)
    stem = f"{Path(stores[0]).resolve().stem}-" if len(stores) == 1 else ""
    return Path(stem + kind.name + "".join(kind.extensions[:1]))


def _of_each(stores: Sequence[Store], where: str | None) -> list[list[str]]:
    """The selected ids of each store; the condition must be met in one of them."""
    found: list[list[str]] = []
    missing: NotFoundError | None = None
    for ds in stores:
        try:
            found.append(selected(ds, where))
        except NotFoundError as exc:
            missing = exc
            found.append([])
    if missing is not None and not any(found):
        raise missing
    return found


def _distinct(stores: Sequence[Store], ids: Sequence[Sequence[str]]) -> None:
    """Refuse stores that have an image id in common: one would be written over the other."""
    seen: dict[str, Store] = {}
    for ds, names in zip(stores, ids, strict=True):
        twice = next((i for i in names if i in seen), None)
        if twice is not None:
            raise CelltableError(
                f"the image '{twice}' is in {seen[twice].path} and in {ds.path}. Make one store of them first, "
                "in which every image has a name of its own: celltable merge."
            )
        seen.update(dict.fromkeys(names, ds))


def _with_figure(write: Callable[[Path], ConversionReport], stores: Sequence[Store], target: Path) -> ConversionReport:
    """Write a folder and draw the statistics of what is in it; both appear at once."""
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
    form: str,
    path: str | Path,
    out: str | Path,
    *,
    images: Store | str | Path | None = None,
    name: str | None = None,
    licence: str = "not stated",
    overwrite: bool = False,
    progress: bool = False,
    **options: Any,
) -> Store:
    """Make a store of annotations (or predictions) in some format.

    Parameters
    ----------
    form
        Name of the format.
    path
        The file or folder to read.
    out
        Folder of the store to write.
    images
        A store whose images are meant: gives sizes and pixels to formats that name none, and refuses unknown images.
    name, licence
        For dataset.json.
    overwrite, progress
        Replace a store at `out`; draw a progress bar.
    **options
        Options of the format.
    """
    kind: Format = plugins.load("formats", form)
    if kind.read is None:
        raise CelltableError(f"{kind.name} can be written but not read. Readable: {', '.join(readable())}.")
    _known_options(kind, options)
    source = Path(path)
    if not source.exists():
        raise NotFoundError(f"{source}: expected a file or folder in {kind.title} format, found nothing.")
    base = None if images is None else as_store(images)
    known: dict[str, Image] = {} if base is None else {i: base.image(i) for i in base}
    request = {"import": kind.name, "path": str(source.resolve()), "options": {k: str(v) for k, v in options.items()}}
    with StoreWriter(out, request, overwrite=overwrite) as writer:
        samples = kind.read(source, known, **options)
        placed: set[str] = set()
        for position, sample in enumerate(work.track(samples, f"reading {kind.name}") if progress else samples):
            if sample.image.image_id in known:
                sample = _beside(sample)
            else:
                sample = _located(sample, kind.name, placed)
            if position >= writer.done:
                writer.append(sample)
        sources = _sources(source, kind.name, placed, Path(out))
        info = _describe(base, Path(out), licence, sources).replaced(
            name=name or source.stem, title=f"{source.name} ({kind.title})",
            reader={"format": kind.name, "celltable": VERSION},
            history=(f"imported from {source.name} as {kind.name}",),
        )  # fmt: skip
        return writer.finish(info)


def _beside(sample: Sample) -> Sample:
    """The sample of a known image: pixels in the folder of its store are pixels of a source of the new one."""
    pixels = tuple(replace(p, source=p.source or OWN) for p in sample.image.pixels)
    return replace(sample, image=replace(sample.image, pixels=pixels))


def _describe(base: Store | None, out: Path, licence: str, sources: Mapping[str, Source]) -> Description:
    """Describe an import: terms are those of the images, where their store is known."""
    if base is None:
        return Description(licence=licence, sources=dict(sources))
    made = derive(base, out, own=OWN)
    return made.replaced(kind="annotations", model=None, of={}, sources={**made.sources, **sources})


def _located(sample: Sample, form: str, placed: set[str]) -> Sample:
    """The sample with its pixels under the keys of `_sources`; those keys are added to `placed`."""
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
    """Ids of the images that meet an SQL condition, in order; all without one."""
    if where is None:
        return list(ds)
    found = ds.query(f"select image_id from images where {where} order by image_id").arrow.column(0).to_pylist()
    if not found:
        raise NotFoundError(f"no image meets the condition {where}; expected at least one of {len(ds):,}.")
    return [str(i) for i in found]


def writable() -> list[str]:
    """Formats that can be written."""
    return [name for name, kind in plugins.load_all("formats").items() if kind.write is not None]


def readable() -> list[str]:
    """Formats that can be read."""
    return [name for name, kind in plugins.load_all("formats").items() if kind.read is not None]


def _known_options(kind: Format, options: dict[str, Any]) -> None:
    for name in options:
        if name not in kind.options:
            near = difflib.get_close_matches(name, kind.options, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(kind.options) or 'none'}."
            raise InputError(f"{kind.name} has no option '{name}'. {hint}")
