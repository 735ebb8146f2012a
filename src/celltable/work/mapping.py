"""An ordered map with progress: the same call runs serially, on threads, on processes or on a Dask cluster."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeVar

from celltable.errors import CelltableError, MissingExtraError

T = TypeVar("T")
R = TypeVar("R")
How = Literal["threads", "processes", "dask"]

SHOW_AFTER_S = 2.0  # nothing that ends sooner deserves a bar


def default_workers() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map(  # the verb of the module: work.map
    function: Callable[[T], R],
    items: Iterable[T],
    *,
    workers: int | None = 1,
    how: How = "threads",
    progress: str | None = None,
    total: int | None = None,
) -> Iterator[R]:
    """Yield ``function(item)`` for each item, in the order of the items.

    Parameters
    ----------
    function
        Called once per item; with ``how="processes"`` or ``"dask"`` it must be picklable.
    items
        Consumed lazily: at most four items a worker are in flight, so memory stays bounded.
    workers
        1 runs in this thread; None uses every core.
    how
        ``threads`` (right where the work is native code), ``processes`` or ``dask`` (needs the extra ``dask``).
    progress
        A label for the progress bar on standard error; None shows none. The bar appears on a terminal only, after two
        seconds.
    total
        Number of items when `items` has no length.

    >>> list(map(abs, [-1, 2, -3], workers=2))
    [1, 2, 3]
    """
    if workers is not None and workers < 1:
        raise CelltableError(f"workers is {workers}; expected 1 or more (or none, for every core)")
    count = default_workers() if workers is None else workers
    size = total if total is not None else (len(items) if isinstance(items, Sized) else None)
    results = _serial(function, items) if count == 1 and how != "dask" else _concurrent(function, items, count, how)
    yield from results if progress is None else track(results, progress, size)


def _serial(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    for item in items:
        yield function(item)


def _concurrent(function: Callable[[T], R], items: Iterable[T], workers: int, how: How) -> Iterator[R]:
    with _executor(workers, how) as executor:
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                pending.append(executor.submit(function, item))
                if len(pending) >= 4 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


class _Submits(Protocol):
    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any: ...


@contextmanager
def _executor(workers: int, how: How) -> Iterator[_Submits]:
    if how == "dask":
        with _dask_client(workers) as client:
            yield client
        return
    executor: Executor
    if how == "processes":
        import multiprocessing

        executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    else:
        executor = ThreadPoolExecutor(workers)
    with executor:
        yield executor


@contextmanager
def _dask_client(workers: int) -> Iterator[_Submits]:
    try:
        from distributed import Client, get_client
    except ImportError as exc:
        raise MissingExtraError("how='dask' needs the Dask extra: pip install 'celltable[dask]'") from exc
    try:
        yield get_client()
    except ValueError:  # no client is active: start a local one
        local: Any = Client
        with local(n_workers=workers, threads_per_worker=1, dashboard_address=None) as client:
            yield client


@contextmanager
def background(function: Callable[[], R]) -> Iterator[Callable[[], R]]:
    """Run `function` on a thread beside the block; call what it yields to wait for the result.

    >>> with background(lambda: 6 * 7) as answer:
    ...     answer()
    42
    """
    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(function).result


def track(items: Iterable[R], label: str, total: int | None = None) -> Iterator[R]:
    """Yield the items unchanged, drawing a bar with rate and time left once two seconds have gone by on a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    started, done, bar = time.monotonic(), 0, None
    try:
        for item in items:
            yield item
            done += 1
            if bar is None and time.monotonic() - started > SHOW_AFTER_S:
                bar = _bar()
                task = bar.add_task(label, total=total)
                bar.start()
            if bar is not None:
                bar.update(task, completed=done)
    finally:
        if bar is not None:
            bar.stop()


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    class Rate(TextColumn):
        def render(self, task: Any) -> Any:
            from rich.text import Text

            return Text(f"{task.speed or 0:,.0f}/s")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
