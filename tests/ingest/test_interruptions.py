"""An ingest that was stopped, killed or overtaken continues to the same bytes, and nothing is ever lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celltable.cells import Sample
from celltable.errors import CelltableError
from celltable.pipelines.ingest import Loader, ingest
from celltable.store import StoreWriter

from .tools import Outcome, digest, litter, refused

DRIVER = """
import sys, time
from celltable.store import StoreWriter, _parts, _writer
import celltable.cli
StoreWriter.PART_IMAGES = 2
where, count = sys.argv.pop(1), 0
def halt():
    print("now", flush=True)
    time.sleep(60)
def after(name, function):
    def wrapped(*args, **kwargs):
        global count
        result = function(*args, **kwargs)
        count += 1
        if where == f"{name}{count}":
            halt()
        return result
    return wrapped
_parts.Parts.flush = after("flush", _parts.Parts.flush)
_parts.write_table = after("table", _parts.write_table)
_parts.Parts.assemble = after("assemble", _parts.Parts.assemble)
_parts.Parts.seal = after("seal", _parts.Parts.seal)
_writer.exchange = after("exchange", _writer.exchange)
sys.argv[0] = "celltable"
celltable.cli.main()
"""


def _takes_interrupts() -> None:
    """A suite that runs in the background of a shell ignores Ctrl-C, and so would the processes it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(where: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a command in a separate process that stops at a given point; return when it gets there."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-c", DRIVER, where, *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=_takes_interrupts
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n", process.communicate()[1]
    return process


def end(process: subprocess.Popen[str], how: signal.Signals) -> str:
    process.send_signal(how)
    return process.communicate(timeout=30)[1]


# flushes 1-6 write two of 12 images each; the seventh, in finish, has none; then tables, seal, exchange
MOMENTS = ("flush1", "flush4", "table8", "assemble10", "seal11", "exchange12")


@pytest.fixture(scope="module")
def uninterrupted(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bytes of an undisturbed store with copied pixels."""
    folder = tmp_path_factory.mktemp("whole")
    store = ingest("dsb2018", pristine, folder / "s.celltable", copy=True)
    return _without_place(store.path)


def _without_place(path: Path) -> dict[str, str]:
    """Compute the digest of a store, without its folder's name in dataset.json."""
    info = (path / "dataset.json").read_text()
    relative = [line for line in info.splitlines() if '"relative"' not in line]
    return {**digest(path), "dataset.json": "\n".join(relative)}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill-9", "ctrl-c"])
def test_an_ingest_that_was_stopped_at_any_moment_goes_on_to_the_same_bytes(
    how: signal.Signals,
    moment: str,
    pristine: Path,
    old: Path,
    uninterrupted: dict[str, str],
    celltable: Callable[..., Outcome],
) -> None:
    before = digest(old)
    command = ("ingest", "dsb2018", pristine, old, "--overwrite", "--copy")
    err = end(start(moment, *command), how)
    assert "Traceback" not in err
    if not moment.startswith("exchange"):
        assert digest(old) == before
    assert celltable(*command)[0] == 0
    assert _without_place(old) == uninterrupted
    assert litter(old.parent) == []


def test_ctrl_c_says_how_to_continue_and_keeps_what_is_done(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, celltable: Callable[..., Outcome]
) -> None:
    out = tmp_path / "s.celltable"
    process = start("flush4", "ingest", "dsb2018", pristine, out)
    err = end(process, signal.SIGINT)
    assert process.returncode == 130
    assert err.strip().splitlines() == [err.strip()]
    assert "run the same command again" in err
    assert not out.exists()
    refused(celltable("show", out), "run the same command again")
    read: list[object] = []

    load = Loader.__call__

    def counted(self: Loader, item: Any) -> Sample:
        read.append(item)
        return load(self, item)

    monkeypatch.setattr(Loader, "__call__", counted)
    assert celltable("ingest", "dsb2018", pristine, out)[0] == 0
    assert len(read) == 12 - 8  # four parts of two images were kept


def test_two_processes_do_not_write_one_store(pristine: Path, old: Path, celltable: Callable[..., Outcome]) -> None:
    before = digest(old)
    command = ("ingest", "dsb2018", pristine, old, "--overwrite")
    first = start("flush2", *command)
    try:
        refused(celltable(*command), "Another process is writing")
        assert digest(old) == before
    finally:
        end(first, signal.SIGKILL)
    assert celltable(*command)[0] == 0
    assert litter(old.parent) == []


def test_a_store_that_is_being_changed_is_not_replaced_meanwhile(
    pristine: Path, old: Path, celltable: Callable[..., Outcome]
) -> None:
    from celltable.disk import locked

    before = digest(old)
    with locked(old):
        refused(celltable("ingest", "dsb2018", pristine, old, "--overwrite"), "Another process is writing")
    assert digest(old) == before
    assert celltable("ingest", "dsb2018", pristine, old, "--overwrite")[0] == 0
    assert litter(old.parent) == []


def test_a_store_that_another_process_finished_meanwhile_is_not_replaced(pristine: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.celltable"
    late = StoreWriter(out, {"request": "late"})  # sees no store yet
    done = digest(ingest("dsb2018", pristine, out, parts=["stage1_test"]).path)
    with pytest.raises(CelltableError, match="already exists"), late:
        pass
    assert digest(out) == done
    assert litter(tmp_path) == []
