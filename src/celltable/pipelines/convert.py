"""Between stores and annotation formats: export writes one, import makes a store of one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celltable import __version__, parallel, registry
from celltable.errors import CelltableError, InputError, NotFoundError
from celltable.formats import Format, Loss
from celltable.records import Image, Sample
from celltable.store import Store, StoreWriter, open_store


def export(
    store: Store | str | Path,
    to: str,
    out: str | Path,
    *,
    where: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    **options: Any,
) -> Loss:
    """Write a store in another format and return what the format could not hold.

    Parameters
    ----------
    store
        A store or its path.
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
    ds = store if isinstance(store, Store) else open_store(store)
    kind: Format = registry.load("formats", to)
    if kind.write is None:
        raise CelltableError(f"{kind.name} can be read but not written. Writable: {', '.join(writable())}.")
    _known_options(kind, options)
    target = Path(out)
    if target.exists() and not overwrite:
        raise CelltableError(f"{target} exists already. Give another name, or --overwrite to replace it.")
    ids = selected(ds, where)
    samples: Iterator[Sample] = ds.samples(ids)
    if progress:
        samples = parallel.track(samples, f"writing {kind.name}", len(ids))
    if overwrite and "overwrite" in kind.options:
        options["overwrite"] = True
    return kind.write(samples, target, **options)


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
    kind: Format = registry.load("formats", form)
    if kind.read is None:
        raise CelltableError(f"{kind.name} can be written but not read. Readable: {', '.join(readable())}.")
    _known_options(kind, options)
    source = Path(path)
    if not source.exists():
        raise NotFoundError(f"{source}: expected a file or folder in {kind.title} format, found nothing.")
    base = None if images is None else images if isinstance(images, Store) else open_store(images)
    known: dict[str, Image] = {} if base is None else {i: base.image(i) for i in base}
    request = {"import": kind.name, "path": str(source.resolve()), "options": {k: str(v) for k, v in options.items()}}
    with StoreWriter(out, request, overwrite=overwrite) as writer:
        samples = kind.read(source, known, **options)
        for position, sample in enumerate(parallel.track(samples, f"reading {kind.name}") if progress else samples):
            if position >= writer.done:
                writer.append(sample)
        info = {
            "name": name or source.stem, "title": f"{source.name} ({kind.title})", "kind": "annotations",
            "licence": licence if base is None else base.info.get("licence", licence),
            "non_commercial": bool(base.info.get("non_commercial")) if base else False,
            "citation": base.info.get("citation", "") if base else "",
            "sources": base.info.get("sources", {}) if base else {},
            "reader": {"format": kind.name, "celltable": __version__},
            "history": [f"imported from {source.name} as {kind.name}"],
        }  # fmt: skip
        return writer.finish(info)


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
    return [name for name, kind in registry.load_all("formats").items() if kind.write is not None]


def readable() -> list[str]:
    """Formats that can be read."""
    return [name for name, kind in registry.load_all("formats").items() if kind.read is not None]


def _known_options(kind: Format, options: dict[str, Any]) -> None:
    for name in options:
        if name not in kind.options:
            near = difflib.get_close_matches(name, kind.options, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(kind.options) or 'none'}."
            raise InputError(f"{kind.name} has no option '{name}'. {hint}")
