"""Ingest: same input, same bytes; copies are whole; the release is never written to."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from celltable import plugins
from celltable.errors import CelltableError
from celltable.pipelines.ingest import ingest
from celltable.store import Store, open_store

from .tools import SEED, Outcome, digest

COPIED = ("dsb2018", "pannuke", "hpa_single_cell", "kumar", "bbbc006")


@pytest.mark.parametrize("name", ["dsb2018", "pannuke", "livecell", "hpa_single_cell"])
@pytest.mark.parametrize("copy", [False, True], ids=["in-place", "copied"])
def test_the_bytes_do_not_depend_on_the_number_of_workers(name: str, copy: bool, tmp_path: Path) -> None:
    release = plugins.load("datasets", name).example(tmp_path / "release", SEED)
    made = [digest(ingest(name, release, tmp_path / f"{n}.celltable", copy=copy, workers=n).path) for n in (1, 2, 4)]
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("name", COPIED)
def test_a_copied_store_needs_the_release_no_more(name: str, tmp_path: Path) -> None:
    release = plugins.load("datasets", name).example(tmp_path / "release", SEED)
    plain = ingest(name, release, tmp_path / "plain.celltable")
    readable = [i for i in plain if plain.image(i).pixels and _pixels(plain, i) is not None]
    assert readable
    expected = {i: _pixels(plain, i) for i in readable}
    (tmp_path / "elsewhere").mkdir()
    ingest(name, release, tmp_path / "copy.celltable", copy=True)
    shutil.rmtree(tmp_path / "release")
    (tmp_path / "copy.celltable").rename(tmp_path / "elsewhere" / "moved.celltable")
    copy = open_store(tmp_path / "elsewhere" / "moved.celltable")
    for image_id, pixels in expected.items():
        assert pixels is not None
        again = copy[image_id].pixels
        assert again.dtype == pixels.dtype
        np.testing.assert_array_equal(again, pixels)
    with pytest.raises(CelltableError, match="no longer exists"):
        _ = plain[readable[0]].pixels


def _pixels(store: Store, image_id: str) -> np.ndarray | None:
    try:
        return store[image_id].pixels
    except CelltableError:
        return None


def test_the_release_itself_is_never_written_to(pristine: Path, tmp_path: Path) -> None:
    before = digest(pristine)
    ingest("dsb2018", pristine, tmp_path / "s.celltable", copy=True)
    assert digest(pristine) == before


def test_provenance_names_every_archive_with_its_hash(pristine: Path, tmp_path: Path) -> None:
    store = ingest("dsb2018", pristine, tmp_path / "s.celltable")
    archives = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in pristine.glob("*.zip")}
    sources = {key.partition(":")[2]: s["sha256"] for key, s in store.info["sources"].items()}
    assert {k: v for k, v in sources.items() if k} == archives
    assert len(sources[""]) == 64


def test_json_says_what_was_written(bowl: Path, tmp_path: Path, celltable: Callable[..., Outcome]) -> None:
    import json

    _, out, _ = celltable("ingest", "dsb2018", bowl, tmp_path / "s.celltable", "--json")
    store = open_store(tmp_path / "s.celltable")
    assert json.loads(out) == {
        "store": str(tmp_path / "s.celltable"),
        "images": len(store),
        "instances": len(store.instances),
        "findings": len(store.findings),
    }
