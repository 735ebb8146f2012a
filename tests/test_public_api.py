"""The public names, the cost of importing them, and what every command offers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import celltable
from celltable import cli

HEAVY = ("numpy", "torch", "pyarrow", "duckdb", "scipy", "PIL", "tifffile", "imagecodecs", "skimage", "onnxruntime")


def loaded_after(code: str) -> set[str]:
    """Return the heavy packages that a fresh interpreter has loaded after running some code."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    script = (
        f"import sys, json\n{code}\nprint('\\n' + json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=True)
    return set(json.loads(done.stdout.splitlines()[-1])) & set(HEAVY)


def test_every_public_name_is_there_and_documented() -> None:
    assert sorted(celltable.__all__) == sorted(set(celltable.__all__))
    for name in celltable.__all__:
        thing = getattr(celltable, name)
        assert name == "__version__" or (thing.__doc__ or "").strip(), name
    assert set(dir(celltable)) >= set(celltable.__all__)


def test_a_name_that_is_not_public_is_not_an_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        _ = celltable.frobnicate


def test_importing_celltable_loads_nothing_heavy() -> None:
    assert loaded_after("import celltable; celltable.__version__; celltable.CelltableError") == set()


def test_the_test_for_loaded_modules_sees_numpy() -> None:
    assert "numpy" in loaded_after("import celltable; celltable.Instances")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["ingest", "--help"], ["evaluate", "--help"]])
def test_asking_for_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
sys.argv = ["celltable", *{arguments!r}]
import celltable.cli
try:
    celltable.cli.main()
except SystemExit as end:
    assert not end.code
"""
    assert loaded_after(code) == set()


def page(verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", ["celltable", verb, "--help"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("verb", cli.verbs())
def test_every_verb_has_an_example_and_json(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page(verb, capsys, monkeypatch)
    assert f"Example: celltable {verb}" in text
    assert "--json" in text


def test_the_list_of_verbs_names_each_with_what_it_does(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["celltable", "--help"])
    with pytest.raises(SystemExit):
        cli.main()
    text = capsys.readouterr().out
    for verb in cli.verbs():
        line = next(x for x in text.splitlines() if x.split()[:1] == [verb])
        assert len(line.split()) > 3


def test_a_verb_that_does_not_exist_ends_with_status_2() -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-m", "celltable", "inges"], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 2
    assert "inges" in done.stderr
    assert "Traceback" not in done.stderr
