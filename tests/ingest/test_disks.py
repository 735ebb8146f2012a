"""Ingest on full or read-only disks and blocked paths: the error is reported, and the old store stays."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from celltable.store import open_store

from .tools import Outcome, digest, litter, refused


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


@pytest.mark.parametrize("options", [(), ("--copy",)], ids=["tables", "copied-pixels"])
def test_a_full_disk_is_reported_and_the_old_store_stays(
    options: tuple[str, ...], bowl: Path, old: Path, small_disk: Path, celltable: Callable[..., Outcome]
) -> None:
    kept = Path(shutil.copytree(old, small_disk / "s.celltable"))
    before = digest(kept)
    room = shutil.disk_usage(small_disk).free - (8192 if not options else 65536)
    (small_disk / "ballast").write_bytes(bytes(room))
    outcome = celltable("ingest", "dsb2018", bowl, kept, "--overwrite", *options)
    refused(outcome, "the disk is full", "untouched")
    assert digest(kept) == before
    (small_disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert celltable("ingest", "dsb2018", bowl, kept, "--overwrite", *options)[0] == 0
    assert len(open_store(kept)) == 12
    assert litter(small_disk) == []


def test_a_read_only_disk_is_reported_and_the_old_store_stays(
    bowl: Path, old: Path, small_disk: Path, celltable: Callable[..., Outcome]
) -> None:
    kept = Path(shutil.copytree(old, small_disk / "s.celltable"))
    before = digest(kept)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(celltable("ingest", "dsb2018", bowl, kept, "--overwrite"), "the disk is read-only")
    refused(celltable("ingest", "dsb2018", bowl, small_disk / "new.celltable"), "the disk is read-only")
    assert digest(kept) == before


@pytest.mark.parametrize("table", ["images", "instances", "findings"])
def test_a_disk_that_fills_while_the_final_tables_are_written_keeps_the_old_store(
    table: str, bowl: Path, old: Path, monkeypatch: pytest.MonkeyPatch, celltable: Callable[..., Outcome]
) -> None:
    before, parts = digest(old), sys.modules["celltable.store._parts"]
    with monkeypatch.context() as patch:
        for name in ("write_table", "write_instances"):
            patch.setattr(parts, name, _full_for(table, getattr(parts, name)))
        refused(celltable("ingest", "dsb2018", bowl, old, "--overwrite"), "the disk is full")
    assert digest(old) == before
    assert celltable("ingest", "dsb2018", bowl, old, "--overwrite")[0] == 0
    assert litter(old.parent) == []


def _full_for(table: str, write: Callable[..., None]) -> Callable[..., None]:
    def full(path: Path, *rest: object) -> None:
        if path.stem == table:
            path.write_bytes(b"half of a")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, *rest)

    return full


@pytest.mark.parametrize("out", ["file/s.celltable", "missing/s.celltable", "n" * 300 + ".celltable"])
def test_an_output_that_cannot_be_written_is_reported(
    out: str, bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]
) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    refused(celltable("ingest", "dsb2018", bowl, tmp_path / out), "Cannot write")
    assert litter(tmp_path) == ["bowl", "file"]
