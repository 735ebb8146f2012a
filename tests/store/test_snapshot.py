"""One open store is one generation, whatever other processes write; nothing that they wrote is lost."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from celltable import schema
from celltable.cells import Image, Instances, Sample
from celltable.errors import StoreError
from celltable.store import Store, StoreWriter, open_store

FINDING = {"image_id": "i0", "rule": "hole", "severity": "warning", "message": "a hole"}


def write(path: Path) -> Store:
    """Make three images of two cells, each cell with a hole of one pixel."""
    mask = np.zeros((2, 9, 9), bool)
    mask[0, :3, :3], mask[1, 5:8, 5:8] = True, True
    mask[0, 1, 1] = mask[1, 6, 6] = False
    with StoreWriter(path, {}) as writer:
        for k in range(3):
            writer.append(Sample(Image(f"i{k}", 9, 9), Instances.from_masks(mask, (9, 9))))
        return writer.finish({"name": "toy"})


def elsewhere(code: str, *arguments: str | Path) -> str:
    """Run code in another process and return what it prints."""
    head = "import sys\nfrom celltable.store import open_store\nfrom celltable import schema\nimport celltable as ct\n"
    done = subprocess.run(
        [sys.executable, "-c", head + code, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


REPAIR = "ct.repair(sys.argv[1], rules=['fill-holes'])"


def contents(store: Store) -> dict[str, object]:
    """Return everything that a store provides."""
    return {
        "images": store.images.to_pylist(),
        "instances": store.instances.to_pylist(),
        "areas": store.columns("area").to_pylist(),
        "of": [store[i].instances.area.tolist() for i in store],
        "edits": store.edits.to_pylist(),
        "findings": store.findings.to_pylist(),
        "scores": store.scores.to_pylist(),
        "sql": store.query("select image_id, sum(area)::int as a from instances group by 1 order by 1").to_pylist(),
        "edited": store.query("select count(*) as n from edits").to_pylist(),
        "kinds": store.value_counts("kind"),
        "counted": [a.tolist() for a in store.number_counts("area")],
    }


def test_all_tables_come_from_the_generation_that_was_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "s").path
    before = contents(open_store(path))
    store = open_store(path)  # nothing of it has been read when the other process replaces the folder
    elsewhere(REPAIR, path)
    assert store.is_stale
    assert contents(store) == before
    after = contents(store.fresh())
    assert not store.fresh().is_stale
    assert after["of"] == [[9, 9]] * 3
    assert after["edited"] == [{"n": 6}]
    assert before["of"] == [[8, 8]] * 3


def test_every_write_makes_a_new_generation_with_a_higher_number(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    seen = [store.generation]
    for _ in range(3):
        store = store.update({"findings": schema.empty("findings")})
        seen.append(store.generation)
    assert [int(g.split("-")[0]) for g in seen] == [1, 2, 3, 4]
    assert len(set(seen)) == 4


def test_findings_do_not_change_the_content_but_cells_do(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    looked = store.update({"findings": pa.Table.from_pylist([FINDING], schema=schema.FINDINGS)})
    assert looked.content == store.content
    assert looked.update({"instances": store.instances.arrow.slice(1)}).content != store.content


def test_tables_that_two_processes_write_are_both_kept(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    elsewhere("ct.split(sys.argv[1], test=0.4, similarity=False)", store.path)
    after = store.update({"findings": pa.Table.from_pylist([FINDING], schema=schema.FINDINGS)}, done="checked")
    assert sorted(set(after.images["split"].to_pylist())) == ["test", "train"]
    assert after.findings["rule"].to_pylist() == ["hole"]
    assert [line.split(":")[0] for line in after.description.history] == ["split", "checked"]
    assert after.description.split


def test_a_table_is_never_written_over_what_another_process_wrote(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    elsewhere(REPAIR, store.path)
    now = contents(store.fresh())
    with pytest.raises(StoreError, match=r"instances changed on disk .*\(repair: fill-holes.*repeat the command"):
        store.update({"instances": store.instances.arrow.slice(1)})
    assert contents(store.fresh()) == now


def test_a_change_as_a_function_is_made_of_the_newest_table(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    other = store.update({"findings": pa.Table.from_pylist([FINDING], schema=schema.FINDINGS)})
    more = pa.Table.from_pylist([{**FINDING, "rule": "speck"}], schema=schema.FINDINGS)
    after = store.update({"findings": lambda old: pa.concat_tables([old, more])})
    assert len(other.findings) == 1
    assert after.findings["rule"].to_pylist() == ["hole", "speck"]


def test_many_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    code = (
        "import sys, pyarrow as pa\nfrom celltable import schema\nfrom celltable.store import open_store\n"
        "for k in range(5):\n"
        "    new = pa.Table.from_pylist([{'rule': f'{sys.argv[2]}-{k}', 'severity': 'note', 'message': 'x'}],"
        " schema=schema.FINDINGS)\n"
        "    open_store(sys.argv[1]).update({'findings': lambda old: pa.concat_tables([old, new])})\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(store.path), f"p{n}"]) for n in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    expected = sorted(f"p{n}-{k}" for n in range(3) for k in range(5))
    assert sorted(store.fresh().findings["rule"].to_pylist()) == expected
    assert store.fresh().generation.startswith("16-")


def test_a_store_travels_to_other_processes_until_its_cells_change(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    reference = store.reference
    assert pickle.loads(pickle.dumps(reference)) == reference
    assert contents(pickle.loads(pickle.dumps(store))) == contents(store)
    store.update({"findings": pa.Table.from_pylist([FINDING], schema=schema.FINDINGS)})
    assert contents(reference.open())["instances"] == contents(store)["instances"]
    elsewhere(REPAIR, store.path)
    with pytest.raises(StoreError, match=r"was changed by another process in the meantime\. Run the command again\."):
        reference.open()


def test_a_worker_that_cannot_see_the_store_names_the_store_and_itself(tmp_path: Path) -> None:
    reference = replace(write(tmp_path / "s").reference, path="/on/another/machine")
    with pytest.raises(StoreError, match=r"\(process \d+\) cannot see /on/another/machine; every worker needs"):
        reference.open()


def test_a_store_that_nobody_holds_keeps_no_file_open(tmp_path: Path) -> None:
    path = write(tmp_path / "s").path
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        contents(open_store(path))
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before


def test_edits_of_many_processes_at_once_are_all_applied(tmp_path: Path) -> None:
    store = write(tmp_path / "s")
    code = (
        "import sys\nfrom celltable.cells import Edit\nfrom celltable.store import open_store\n"
        "from celltable.store.edits import edits_table\n"
        "for n in (0, 1):\n"
        "    store = open_store(sys.argv[1])\n"
        "    cell = store[sys.argv[2]].instances.take([0])\n"
        "    store.edit(edits_table([Edit('by-hand', sys.argv[2], int(cell.ids[0]), '', cell, None)]), compact=False)\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, str(store.path), f"i{n}"]) for n in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    after = store.fresh()
    assert after.n_instances == 0
    assert sorted(after.edits["batch"].to_pylist()) == after.edits["edit_id"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert len(after.description.overlay) == 6
