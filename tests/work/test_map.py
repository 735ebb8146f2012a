"""The ordered map: order, bounds, errors, progress."""

from __future__ import annotations

import io
import math
import sys
import threading
import time

import pytest

from celltable import work
from celltable.errors import CelltableError, MissingExtraError
from celltable.work import progress


def slow_square(n: int) -> int:
    time.sleep(0.002 * (7 - n % 7))
    return n * n


@pytest.mark.parametrize("workers", [1, 4])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(work.map(slow_square, range(40), workers=workers)) == [n * n for n in range(40)]


def test_processes_give_the_same_results_as_threads() -> None:
    assert list(work.map(math.factorial, range(40), workers=2, how="processes")) == [
        math.factorial(n) for n in range(40)
    ]


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> object:
        for n in range(10_000):
            taken.append(n)
            yield n

    results = work.map(slow_square, items(), workers=2)  # type: ignore[arg-type]
    assert next(results) == 0
    assert len(taken) <= 9
    results.close()  # type: ignore[attr-defined]


def test_an_error_reaches_the_caller_and_the_rest_is_not_run() -> None:
    ran: set[int] = set()

    def fail(n: int) -> int:
        ran.add(n)
        if n == 3:
            raise ValueError("three")
        return n

    with pytest.raises(ValueError, match="three"):
        list(work.map(fail, range(1000), workers=2))
    assert len(ran) < 100


def test_several_threads_work_at_once() -> None:
    barrier = threading.Barrier(3, timeout=10)
    assert len(list(work.map(lambda _: barrier.wait(), range(3), workers=3))) == 3


def test_no_workers_are_refused() -> None:
    with pytest.raises(CelltableError, match="workers is 0"):
        list(work.map(abs, [1], workers=0))


def test_a_cluster_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"celltable\[dask\]"):
        list(work.map(abs, [1], how="dask"))


def test_a_bar_is_drawn_on_a_terminal_after_a_while_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, drawn in ((io.StringIO(), False), (Terminal(), True)):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(progress, "SHOW_AFTER_S", 0.0)
        monkeypatch.setenv("TERM", "xterm")
        assert list(work.track(map(slow_square, range(30)), "squaring", 30)) == [n * n for n in range(30)]
        assert ("squaring" in stream.getvalue()) is drawn
