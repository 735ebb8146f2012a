"""An ordered map over threads, processes or a Dask cluster that behaves the same on each."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, get_args

from celltable.errors import CelltableError

from .pools import Pool, cluster_pool, process_pool, thread_pool
from .progress import track

T = TypeVar("T")
R = TypeVar("R")
How = Literal["threads", "processes", "dask"]

IN_FLIGHT: Final = 4  # items per worker that are running or waiting, so that memory stays bounded


def default_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Runner:
    """Where work is done, and by how many workers.

    Attributes
    ----------
    workers
        Number of threads or processes; None for one per core. One thread is the calling thread. A scheduler has its own
        workers.
    how
        ``threads`` (fastest to start, and enough for native code, which releases Python's lock), ``processes``, or
        ``dask``: a cluster of processes, local unless `scheduler` is given.
    scheduler
        Address of a Dask scheduler, ``tcp://host:8786``; implies ``how="dask"``. Its workers need this version of
        celltable and must see the same files at the same paths.

    Raises
    ------
    CelltableError
        If `workers` is less than 1, `how` is unknown, or a scheduler is given for processes.
    """

    workers: int | None = 1
    how: How = "threads"
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise CelltableError(f"workers is {self.workers}; expected 1 or more (or none, for one per core)")
        if self.how not in get_args(How):
            raise CelltableError(f"how is '{self.how}'; expected {', '.join(get_args(How))}.")
        if self.scheduler is not None and self.how == "processes":
            raise CelltableError(
                f"how is 'processes', but {self.scheduler} is a Dask scheduler; leave one of them out."
            )

    @property
    def travels(self) -> bool:
        """Whether functions and items are sent to other processes."""
        return self.scheduler is not None or self.how in ("processes", "dask")

    def map(
        self,
        function: Callable[[T], R],
        items: Iterable[T],
        *,
        progress: str | None = None,
        total: int | None = None,
    ) -> Iterator[R]:
        """Yield ``function(item)`` for each item, in the order of the items.

        Parameters
        ----------
        function
            Called once per item. For other processes it must pickle, and it is called again if its worker dies.
        items
            Consumed lazily: at most four items per worker are in flight.
        progress
            Label of the progress bar on standard error; None for no bar. It appears only on a terminal, after two
            seconds.
        total
            Number of items when `items` has no length.

        Raises
        ------
        WorkerError
            If a worker dies (repeatedly, on a cluster), or the function or items cannot be sent.
        Exception
            Whatever `function` raised, with its notes; later items are not run.
        """
        size = total if total is not None else (len(items) if isinstance(items, Sized) else None)
        results = self._results(function, items)
        return results if progress is None else track(results, progress, size)

    def _results(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        count = default_workers() if self.workers is None else self.workers
        if count == 1 and not self.travels:
            for item in items:
                yield function(item)
            return
        with self._pool(function, count) as pool:
            yield from _in_order(pool, items)

    def _pool(self, function: Callable[[Any], Any], workers: int) -> Any:
        if self.scheduler is not None or self.how == "dask":
            return cluster_pool(function, workers, self.scheduler)
        return process_pool(function, workers) if self.how == "processes" else thread_pool(function, workers)


def _in_order(pool: Pool, items: Iterable[Any]) -> Iterator[Any]:
    pending: deque[Any] = deque()
    try:
        for item in items:
            pending.append(pool.submit(item))
            if len(pending) >= IN_FLIGHT * pool.size():
                yield pool.result(pending.popleft())
        while pending:
            yield pool.result(pending.popleft())
    finally:
        for future in pending:
            future.cancel()


def map(  # the verb of the package: work.map
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int | None = 1,
    how: How = "threads",
    scheduler: str | None = None,
    progress: str | None = None,
    total: int | None = None,
) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in order; see `Runner` and `Runner.map`.

    >>> list(map(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    return Runner(workers, how, scheduler).map(function, items, progress=progress, total=total)
