"""Run a model on the images of a store and write a store of predictions; an interrupted run is resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from celltable import plugins, work
from celltable.cells import Finding, Image, Instances, Sample
from celltable.errors import InputError, NotFoundError
from celltable.plugins.model import Model
from celltable.plugins.options import settle
from celltable.store import Description, Store, StoreWriter, as_store, derive
from celltable.version import VERSION

OWN = "annotations"  # source key of the annotated store, if the pixels are copies in its folder


def predict(
    store: Store | str | Path,
    out: str | Path,
    *,
    model: str = "otsu-watershed",
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    workers: int | None = None,
    how: work.How = "threads",
    scheduler: str | None = None,
    progress: bool = False,
) -> Store:
    """Segment the cells in every image of a store with a model.

    Parameters
    ----------
    store
        A store or its path; only its images are used, never its cells.
    out
        Folder of the predictions: a store with the same images whose cells have scores.
    model
        Name of the model.
    options
        Options of the model; the others keep their defaults.
    overwrite
        Replace an existing store at `out`; the old one stays until the new one is complete.
    workers, how, scheduler
        Number of workers (None: one per core) and where they run, see `celltable.work.Runner`; the result is the same,
        byte for byte.
    progress
        Draw a progress bar on a terminal.

    Raises
    ------
    UnknownPluginError, OptionError, StoreError
        If no model has that name, an option is unknown or out of range, or `out` cannot be written. An image that
        cannot be read becomes a finding.
    """
    runner = work.Runner(workers, how, scheduler)
    ds = as_store(store)
    chosen: Model = plugins.load("models", model)
    settings = settle(chosen.options, options, f"the model {chosen.name}")
    origin = _origin(ds)
    request = {"predict": chosen.name, "options": settings, "of": origin, "celltable": VERSION}
    with StoreWriter(out, request, overwrite=overwrite) as writer:
        run = partial(_predicted, ds, partial(chosen.predict, **settings))
        for sample in runner.map(run, list(ds)[writer.done :], progress=f"running {model}" if progress else None):
            writer.append(sample)
        return writer.finish(_describe(ds, chosen, settings, origin, Path(out)))


def _origin(ds: Store) -> dict[str, str]:
    """Identify the images that the predictions are for."""
    return {"name": ds.name, "path": str(ds.path.resolve()), "images_sha256": ds.digest("images")}


def _predicted(ds: Store, run: Callable[[Any, Image], Instances], image_id: str) -> Sample:
    image = ds.image(image_id)
    pixels = tuple(replace(p, source=p.source or OWN) for p in image.pixels)
    bare = replace(image, pixels=pixels, labels=None, count=None, annotated=True, exhaustive=True)
    try:
        cells = run(ds.pixels_of(image), image)
    except (InputError, NotFoundError) as exc:
        trouble = Finding("unreadable-image", str(exc), "error", image_id)
        return Sample(replace(bare, annotated=False), Instances.empty(image.size), (trouble,))
    if cells.size != image.size:
        text = f"the image file has {cells.size[0]} × {cells.size[1]} px, expected {image.height} × {image.width}"
        trouble = Finding("size-mismatch", text, "error", image_id)
        return Sample(replace(bare, annotated=False), Instances.empty(image.size), (trouble,))
    return Sample(bare, cells)


def _describe(
    ds: Store, model: Model, settings: Mapping[str, float | str], origin: Mapping[str, str], out: Path
) -> Description:
    """Describe the predictions: the licence of the images, the model with its options, and where the pixels are."""
    made_by = {"name": model.name, "title": model.title, "options": dict(settings), "celltable": VERSION}
    of = {"name": origin["name"], "images_sha256": origin["images_sha256"]}
    return derive(ds, out, own=OWN, kind="predictions", model=made_by, of=of)
