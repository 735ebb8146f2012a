"""Work in other processes: the same results and errors as in threads, workers that die, and what cannot be sent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from celltable import work
from celltable.errors import CelltableError, InputError, WorkerError
from celltable.work import Runner

TWO = Runner(workers=2, how="processes")


def noted(n: int) -> int:
    if n == 3:
        error = InputError("three is not a number of cells")
        error.add_note("while counting the cells of image 3")
        raise error
    return n


class ThreeArguments(Exception):  # pickles, but does not unpickle
    def __init__(self, a: int, b: int, c: int) -> None:
        super().__init__(f"{a} {b} {c}")


def unsendable(n: int) -> int:
    error = ThreeArguments(1, 2, n)
    error.add_note("while adding")
    raise error


def killed(n: int) -> int:
    if n == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


@dataclass(frozen=True)
class Process(work.Reference[int]):
    """A reference that opens to the id of the opening process, and appends a line to a file."""

    log: Path

    def open(self) -> int:
        with self.log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return os.getpid()


@dataclass(frozen=True)
class Where:
    reference: Process

    def __call__(self, n: int) -> tuple[int, int]:
        time.sleep(0.02)
        return os.getpid(), work.opened(self.reference)


def test_the_exception_of_an_item_arrives_with_its_type_and_note() -> None:
    results = TWO.map(noted, range(8))
    with pytest.raises(InputError, match="three is not a number") as caught:
        list(results)
    assert caught.value.__notes__ == ["while counting the cells of image 3"]


def test_an_exception_that_cannot_be_sent_arrives_as_its_words() -> None:
    with pytest.raises(CelltableError, match="ThreeArguments: 1 2 0") as caught:
        list(TWO.map(unsendable, range(3)))
    assert caught.value.__notes__ == ["while adding"]


def test_a_killed_worker_process_ends_in_one_sentence() -> None:
    with pytest.raises(WorkerError, match="a worker process died"):
        list(TWO.map(killed, range(8)))


def test_what_cannot_be_sent_is_refused_before_it_is() -> None:
    with pytest.raises(WorkerError, match="the work cannot be sent to another process"):
        list(TWO.map(lambda n: n, range(3)))
    with pytest.raises(WorkerError, match="an item of the work cannot be sent"):
        list(TWO.map(noted, (i for i in [lambda: 1])))  # type: ignore[arg-type]


def test_a_reference_is_opened_once_per_process(tmp_path: Path) -> None:
    log = tmp_path / "opened"
    results = list(TWO.map(Where(Process(log)), range(24)))
    workers = {pid for pid, _ in results}
    assert all(pid == opened for pid, opened in results)
    assert os.getpid() not in workers
    assert sorted(map(int, log.read_text().split())) == sorted(workers)


def test_a_runner_refuses_what_does_not_exist() -> None:
    with pytest.raises(CelltableError, match=r"how is 'fibres'; expected threads, processes, dask\."):
        Runner(how="fibres")  # type: ignore[arg-type]
    with pytest.raises(CelltableError, match="tcp://here:1 is a Dask scheduler"):
        Runner(how="processes", scheduler="tcp://here:1")
    assert Runner(scheduler="tcp://here:1").travels


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a script whose worker processes write their ids to a file and then work for a long time."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("the states of processes are read from /proc")
    (tmp_path / "busy.py").write_text(
        textwrap.dedent("""
            import os, pathlib, signal, sys, time
            from celltable.work import Runner

            if __name__ == "__main__":  # a suite in the background of a shell ignores Ctrl-C, and so would this script
                signal.signal(signal.SIGINT, signal.default_int_handler)

            def slow(n):
                with open("pids", "a") as file:
                    file.write(f"{os.getpid()}\\n")
                time.sleep(0.3)
                return n

            if __name__ == "__main__":
                try:
                    list(Runner(2, "processes").map(slow, range(10_000)))
                except KeyboardInterrupt:
                    sys.exit(130)
        """)
    )
    command = [sys.executable, "busy.py"]
    with subprocess.Popen(command, cwd=tmp_path, text=True, stderr=subprocess.PIPE, start_new_session=True) as script:
        yield script
        script.kill()


def workers_of(folder: Path) -> set[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pids = set(map(int, (folder / "pids").read_text().split())) if (folder / "pids").exists() else set()
        if len(pids) == 2:
            return pids
        time.sleep(0.05)
    raise AssertionError("the workers did not start")


def gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not any(map(running, pids)):
            return True
        time.sleep(0.05)
    return False


def test_ctrl_c_ends_the_workers_without_mentioning_them(busy: subprocess.Popen[str], tmp_path: Path) -> None:
    pids = workers_of(tmp_path)
    os.killpg(busy.pid, signal.SIGINT)  # as a terminal does: to the parent and its workers
    _, said = busy.communicate(timeout=30)
    assert (busy.returncode, said) == (130, "")
    assert gone(pids)


def test_workers_end_with_a_parent_that_is_killed(busy: subprocess.Popen[str], tmp_path: Path) -> None:
    pids = workers_of(tmp_path)
    busy.kill()
    assert gone(pids)
