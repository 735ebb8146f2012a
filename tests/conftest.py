"""Shared by all tests: the folder of published samples, and a skip that says what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run; HYPOTHESIS_PROFILE=explore tries new ones.
settings.register_profile("repeat", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

SHARED = Path(os.environ.get("CELLTABLE_SHARED", Path(__file__).resolve().parents[1].parent / "shared"))


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Path]:
    """``sample("dsb2018/stage1_train.zip")``: the path of a real release, or a skip that names what is missing."""

    def find(relative: str) -> Path:
        path = SHARED / "data" / relative
        if not path.exists():
            pytest.skip(f"published sample {relative} is not on this machine")
        return path

    return find


@pytest.fixture(scope="session")
def vectors() -> Path:
    """Return the folder of reference metric values, or skip."""
    path = SHARED / "metric_vectors"
    if not path.exists():
        pytest.skip("the reference metric vectors are not on this machine")
    return path
