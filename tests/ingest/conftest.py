"""An example release to damage, a store that must survive, and the command line in this process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from celltable import cli, plugins
from celltable.pipelines.ingest import ingest

from .tools import SEED, Outcome


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of dsb2018: three archives and their tables."""
    path: Path = plugins.load("datasets", "dsb2018").example(tmp_path_factory.mktemp("bowl"), SEED)
    return path


@pytest.fixture
def bowl(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the example that a test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / "bowl"))


@pytest.fixture
def old(pristine: Path, tmp_path: Path) -> Path:
    """A store that already exists and must survive whatever fails."""
    path = tmp_path / "out" / "s.celltable"
    path.parent.mkdir()
    ingest("dsb2018", pristine, path, parts=["stage1_test"])
    return path


@pytest.fixture
def celltable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run a command in this process: (exit status, output, errors)."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["celltable", *map(str, arguments)])
        try:
            cli.main()
            status = 0
        except SystemExit as exc:
            status = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
        said = capsys.readouterr()
        return status, said.out, said.err

    return run
