"""A Dask cluster of several worker processes on this machine, for the tests that need one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Start a scheduler and three worker processes of one thread each, which are replaced when they die."""
    from distributed import LocalCluster

    make: Any = LocalCluster
    with make(n_workers=3, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as local:
        yield local
