"""Threads, processes and Dask clusters behind one small interface."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Final, Protocol

from celltable.errors import MissingExtraError, WorkerError

from .task import packed, run

ANSWER_S: Final = 10.0  # time for a scheduler to answer
ARRIVE_S: Final = 60.0  # time for its first worker to arrive
COUNT_AGAIN_S: Final = 5.0  # interval for recounting the workers of a cluster, which come and go


class Pool(Protocol):
    """Runs one function on any number of items; `result` waits for one of them."""

    def submit(self, item: Any) -> Any: ...
    def result(self, future: Any) -> Any: ...
    def size(self) -> int: ...


class _Threads:
    def __init__(self, executor: ThreadPoolExecutor, function: Callable[[Any], Any], workers: int) -> None:
        self._executor, self._function, self._workers = executor, function, workers

    def submit(self, item: Any) -> Future[Any]:
        return self._executor.submit(self._function, item)

    def result(self, future: Future[Any]) -> Any:
        return future.result()

    def size(self) -> int:
        return self._workers


@contextmanager
def thread_pool(function: Callable[[Any], Any], workers: int) -> Iterator[Pool]:
    """Threads of this process."""
    with ThreadPoolExecutor(workers) as executor:
        yield _Threads(executor, function, workers)


class _Processes:
    def __init__(self, executor: ProcessPoolExecutor, function: bytes, workers: int) -> None:
        self._executor, self._function, self._workers = executor, function, workers

    def submit(self, item: Any) -> Future[Any]:
        task = packed(item, "an item of the work")
        try:
            return self._executor.submit(run, self._function, task)
        except BrokenProcessPool as exc:
            raise _died() from exc

    def result(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except BrokenProcessPool as exc:
            raise _died() from exc

    def size(self) -> int:
        return self._workers


@contextmanager
def process_pool(function: Callable[[Any], Any], workers: int) -> Iterator[Pool]:
    """Processes of this machine, started fresh, so that they share nothing with this one."""
    import multiprocessing

    task = packed(function, "the work")
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_process)
    try:
        yield _Processes(executor, task, workers)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start_process() -> None:
    """Leave Ctrl-C to the parent process, and exit when it exits for any reason."""
    import multiprocessing

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    import os

    parent.join()
    os._exit(1)


def _died() -> WorkerError:
    return WorkerError(
        "a worker process died: it was killed, perhaps out of memory (try fewer --workers), or could not start "
        '(a script needs if __name__ == "__main__" around its call). Run the command again: finished work is kept.'
    )


class _Cluster:
    def __init__(self, client: Any, function: bytes) -> None:
        self._client, self._function = client, function
        self._size, self._counted = 0, 0.0

    def submit(self, item: Any) -> Any:
        return self._client.submit(run, self._function, packed(item, "an item of the work"), pure=False)

    def result(self, future: Any) -> Any:
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as exc:
            raise WorkerError(
                f"several workers of the cluster died one after another on the same item ({exc}). Check their logs; "
                "often they run out of memory."
            ) from exc
        except CancelledError as exc:
            raise WorkerError(
                "the connection to the Dask scheduler was lost. Run the command again: finished work is kept."
            ) from exc
        except ModuleNotFoundError as exc:
            raise WorkerError(
                f"the cluster cannot import {exc.name}; its scheduler and workers need the same celltable and plug-ins "
                "as this process."
            ) from exc

    def size(self) -> int:
        if time.monotonic() - self._counted > COUNT_AGAIN_S:
            self._size, self._counted = max(1, sum(self._client.nthreads().values())), time.monotonic()
        return self._size


@contextmanager
def cluster_pool(function: Callable[[Any], Any], workers: int, scheduler: str | None) -> Iterator[Pool]:
    """Workers of a Dask cluster: of `scheduler` if given, else of this process's client, else a local cluster."""
    task = packed(function, "the work")
    with _client(workers, scheduler) as client:
        yield _Cluster(client, task)


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    try:
        from distributed import Client, get_client
    except ImportError as exc:
        raise MissingExtraError("how='dask' needs the Dask extra: pip install 'celltable[dask]'") from exc
    make: Any = Client
    if scheduler is not None:
        with _connected(make, scheduler) as client:
            yield client
        return
    try:
        yield get_client()
        return
    except ValueError:  # no client is active in this process
        pass
    with make(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as client:
        yield client


@contextmanager
def _connected(make: Any, scheduler: str) -> Iterator[Any]:
    try:
        client = make(scheduler, timeout=ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as exc:
        raise WorkerError(
            f"no Dask scheduler answers at {scheduler} ({exc}); expected the address that `dask scheduler` prints, "
            "such as tcp://host:8786."
        ) from exc
    with client:
        try:
            client.wait_for_workers(1, timeout=ARRIVE_S)
        except TimeoutError as exc:
            raise WorkerError(f"the scheduler {scheduler} has no workers; start some: dask worker {scheduler}") from exc
        yield client
