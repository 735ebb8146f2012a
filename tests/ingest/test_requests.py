"""Ingest through the command line: an impossible request ends with one sentence, and no store is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from celltable.pipelines.ingest import ingest
from celltable.store import open_store

from .tools import Outcome, digest, first_image, litter, refused, write_zip


def _cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def _tar_bomb(bowl: Path) -> None:
    """Make a compressed tar of zeros that unpacks to far more than allowed: bz2 packs them 10,000 to one."""
    import bz2

    shutil.rmtree(bowl)
    bowl.mkdir()
    (bowl / "stage1_train.tar.bz2").write_bytes(bz2.compress(bytes(1 << 26)))


def _replace_train(bowl: Path, extra: dict[str, bytes], link: str = "") -> None:
    name, data = first_image(bowl)
    write_zip(bowl / "stage1_train.zip", {name: data, **extra}, link)


def _empty(bowl: Path) -> None:
    shutil.rmtree(bowl)
    bowl.mkdir()


def _something_else(bowl: Path) -> None:
    _empty(bowl)
    (bowl / "thesis.txt").write_text("words")


def _only_deep(bowl: Path) -> None:
    """Put the archives three folders below the given path."""
    deep = bowl / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for path in [p for p in bowl.iterdir() if p.is_file()]:
        path.rename(deep / path.name)


END_THE_COMMAND: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "a zip without its last byte": (lambda b: _cut(b / "stage1_train.zip", 0.9999), ("stage1_train.zip",)),
    "half a zip": (lambda b: _cut(b / "stage1_train.zip", 0.5), ("stage1_train.zip",)),
    "an empty zip file": (lambda b: (b / "stage1_train.zip").write_bytes(b""), ("stage1_train.zip", "empty")),
    "a member that climbs out": (lambda b: _replace_train(b, {"../evil.png": b"x"}), ("../evil.png",)),
    "a member deep down that climbs out": (lambda b: _replace_train(b, {"a/../../e.png": b"x"}), ("a/../../e.png",)),
    "a member with backslashes that climbs out": (lambda b: _replace_train(b, {"..\\evil.png": b"x"}), ("evil.png",)),
    "an absolute member": (lambda b: _replace_train(b, {"/etc/passwd": b"x"}), ("/etc/passwd",)),
    "a member on a drive": (lambda b: _replace_train(b, {"C:\\evil.png": b"x"}), ("evil.png",)),
    "a symbolic link": (lambda b: _replace_train(b, {}, "ab/images/link.png"), ("link.png", "symbolic link")),
    "a tar that is a bomb": (_tar_bomb, ("refused as a bomb",)),
    "an empty folder": (_empty, ("empty folder", "expected a release")),
    "a folder of something else": (_something_else, ("expected", "found thesis.txt", "celltable datasets dsb2018")),
    "no folder": (shutil.rmtree, ("does not exist",)),
}


@pytest.mark.parametrize("case", END_THE_COMMAND)
def test_an_impossible_request_ends_with_one_sentence_and_the_old_store_stays(
    case: str, bowl: Path, old: Path, celltable: Callable[..., Outcome]
) -> None:
    spoil, words = END_THE_COMMAND[case]
    before = digest(old)
    spoil(bowl)
    refused(celltable("ingest", "dsb2018", bowl, old, "--overwrite"), *words)
    assert digest(old) == before
    assert litter(old.parent) == []
    assert not (bowl.parent / "evil.png").exists()


def test_a_folder_too_high_is_found_or_named(bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]) -> None:
    ingest("dsb2018", bowl, tmp_path / "right.celltable")
    above = tmp_path / "downloads"
    above.mkdir()
    bowl.rename(above / bowl.name)
    status, _, err = celltable("ingest", "dsb2018", above, tmp_path / "high.celltable")
    assert status == 0, err
    right, high = open_store(tmp_path / "right.celltable"), open_store(tmp_path / "high.celltable")
    assert list(high) == list(right)
    assert high.instances.arrow.equals(right.instances.arrow)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("dsb2081", "."), ("dsb2081", "Did you mean dsb2018")),
        (("dsb2018", ".", "--part", "stage3"), ("stage3", "stage1_train, stage1_test, stage2_test")),
        (("dsb2018", __file__), ("expected a zip or tar",)),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(
    arguments: tuple[str, ...], words: tuple[str, ...], bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]
) -> None:
    given = [str(bowl) if a == "." else a for a in arguments]
    refused(celltable("ingest", *given[:2], tmp_path / "s.celltable", *given[2:]), *words)
    assert litter(tmp_path) == ["bowl"]


def test_an_existing_store_is_kept_unless_overwrite_is_given(
    bowl: Path, old: Path, celltable: Callable[..., Outcome]
) -> None:
    before = digest(old)
    refused(celltable("ingest", "dsb2018", bowl, old), "already exists", "--overwrite")
    assert digest(old) == before
    assert celltable("ingest", "dsb2018", bowl, old, "--overwrite")[0] == 0
    assert len(open_store(old)) == 12
    assert litter(old.parent) == []
