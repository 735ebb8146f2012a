"""Work on a Dask cluster of several processes: order, errors, a worker that is killed, addresses that do not answer."""

from __future__ import annotations

import copy
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from celltable import plugins
from celltable.cells import Image
from celltable.errors import InputError, WorkerError
from celltable.pipelines.check import check
from celltable.pipelines.evaluate import evaluate
from celltable.pipelines.ingest import ingest
from celltable.pipelines.predict import predict
from celltable.store import Store
from celltable.work import Runner


def pid_and_square(n: int) -> tuple[int, int]:
    time.sleep(0.02)
    return os.getpid(), n * n


@dataclass(frozen=True)
class KillsItsWorkerOnce:
    mark: Path

    def __call__(self, n: int) -> int:
        if n == 5 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return n * n


def always_killed(n: int) -> int:
    if n == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def noted(n: int) -> int:
    if n == 3:
        error = InputError("three is not a number of cells")
        error.add_note("while counting the cells of image 3")
        raise error
    return n


def test_a_cluster_gives_the_results_in_the_order_of_the_items(cluster: Any) -> None:
    results = list(Runner(scheduler=cluster.scheduler_address).map(pid_and_square, range(40)))
    assert [square for _, square in results] == [n * n for n in range(40)]
    assert len({pid for pid, _ in results}) == 3
    assert os.getpid() not in {pid for pid, _ in results}


def test_a_worker_that_is_killed_changes_nothing(cluster: Any, tmp_path: Path) -> None:
    runner = Runner(scheduler=cluster.scheduler_address)
    assert list(runner.map(KillsItsWorkerOnce(tmp_path / "killed"), range(40))) == [n * n for n in range(40)]
    assert (tmp_path / "killed").exists()


def test_an_item_that_kills_every_worker_ends_in_one_sentence(cluster: Any) -> None:
    with pytest.raises(WorkerError, match="several workers of the cluster died"):
        list(Runner(scheduler=cluster.scheduler_address).map(always_killed, range(4)))


def test_the_exception_of_an_item_arrives_from_the_cluster_with_its_note(cluster: Any) -> None:
    with pytest.raises(InputError, match="three is not a number") as caught:
        list(Runner(scheduler=cluster.scheduler_address).map(noted, range(8)))
    assert caught.value.__notes__ == ["while counting the cells of image 3"]


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from celltable.work import pools

    monkeypatch.setattr(pools, "ANSWER_S", 0.5)
    with pytest.raises(WorkerError, match="no Dask scheduler answers at tcp://127.0.0.1:9"):
        list(Runner(scheduler="tcp://127.0.0.1:9").map(abs, [1]))


def test_a_client_of_the_caller_is_used(cluster: Any) -> None:
    from distributed import Client

    make: Any = Client
    with make(cluster) as client:
        used = {pid for pid, _ in Runner(how="dask").map(pid_and_square, range(12))}
        assert os.getpid() not in used
        # A worker that an earlier test killed may come back at any time, so the pids are those after the work.
        assert used <= set(client.run(os.getpid).values())


@dataclass(frozen=True)
class KillsItsWorker:
    """Predict, but kill the first process that gets to the third image."""

    predict: Any
    mark: Path

    def __call__(self, pixels: Any, image: Image, **options: Any) -> Any:
        if image.image_id == self.mark.name and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.predict(pixels, image, **options)


def contents(store: Store) -> dict[str, bytes]:
    return {str(p.relative_to(store.path)): p.read_bytes() for p in sorted(store.path.rglob("*")) if p.is_file()}


def chain(release: Path, folder: Path, **how: Any) -> tuple[dict[str, bytes], dict[str, bytes], str]:
    """Ingest, check, predict and evaluate; return the bytes of both stores, and the scores."""
    folder.mkdir()
    truth = ingest("dsb2018", release, folder / "truth.celltable", copy=True, **how)
    check(truth, **how)
    pred = predict(truth, folder / "pred.celltable", **how)
    scores = evaluate(truth, pred, ["ap_dsb2018", "aji_kumar2017"], rounds=20, **how)
    made = contents(truth.fresh()), contents(pred), json.dumps(scores.to_dict())
    folder.rename(folder.with_name(f"{folder.name}-{how['workers']}"))
    return made


def test_the_whole_workflow_on_a_cluster_writes_the_bytes_of_one_thread_even_if_workers_are_killed(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = plugins.load("datasets", "dsb2018").example(tmp_path / "release", 0)
    expected = chain(release, tmp_path / "chain", workers=1)
    third = sorted(ingest("dsb2018", release, tmp_path / "look.celltable", workers=1))[2]
    deadly = copy.copy(plugins.load("models", "otsu-watershed"))
    mark = tmp_path / third
    object.__setattr__(deadly, "predict", KillsItsWorker(deadly.predict, mark))
    real = plugins.load
    monkeypatch.setattr(plugins, "load", lambda f, name: deadly if f == "models" else real(f, name))
    made = chain(release, tmp_path / "chain", workers=3, scheduler=cluster.scheduler_address)
    assert mark.exists()
    assert made == expected
