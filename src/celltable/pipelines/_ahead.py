"""Read samples of stores in workers, ahead of a writer that consumes them one by one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from numpy.typing import NDArray

from celltable import work
from celltable.cells import Sample
from celltable.errors import CelltableError
from celltable.store import Store

MOST_PIXELS: Final = 1 << 22  # largest image to load ahead, as several are in memory at once


def read_ahead(
    stores: Sequence[Store], ids: Sequence[Sequence[str]], runner: work.Runner
) -> Generator[Sample, None, None]:
    """Yield the named images of each store in order; the workers of `runner` read them.

    Pixels are loaded ahead once the writer has asked for the pixels of any image; until then, and for large images,
    they are loaded on request.
    """
    asked = _Asked()
    tasks = (_Task(k, image_id, asked.once) for k, each in enumerate(ids) for image_id in each)
    for task, sample, loaded in runner.map(_Read(tuple(stores)), tasks):
        store = stores[task.store]
        load = partial(asked.pixels, store, sample, loaded) if sample.image.pixels else None
        yield replace(sample, load_pixels=load)


@dataclass(frozen=True, slots=True)
class _Task:
    """An image to read, with or without its pixels."""

    store: int
    image_id: str
    with_pixels: bool


@dataclass(slots=True)
class _Loaded:
    """Pixels of one image, or why they cannot be read; handed out only once, so that they do not pile up in memory."""

    pixels: NDArray[Any] | None = None
    error: CelltableError | None = None

    def take(self) -> NDArray[Any] | None:
        """Hand out the pixels, raise the error, or return None the second time."""
        if self.error is not None:
            raise self.error
        pixels, self.pixels = self.pixels, None
        return pixels


@dataclass(slots=True)
class _Asked:
    """Records whether the writer has asked for pixels yet."""

    once: bool = False

    def pixels(self, store: Store, sample: Sample, loaded: _Loaded) -> NDArray[Any]:
        """Give the writer the pixels of an image."""
        self.once = True
        pixels = loaded.take()
        return store.pixels_of(sample.image) if pixels is None else pixels


@dataclass(frozen=True, slots=True)
class _Read:
    stores: tuple[Store, ...]

    def __call__(self, task: _Task) -> tuple[_Task, Sample, _Loaded]:
        sample = self.stores[task.store][task.image_id].sample
        image, loaded = sample.image, _Loaded()
        if task.with_pixels and image.pixels and image.height * image.width <= MOST_PIXELS:
            try:
                loaded.pixels = sample.pixels()
            except CelltableError as exc:  # the writer decides what an image without pixels means
                loaded.error = exc
        return task, replace(sample, load_pixels=None), loaded
