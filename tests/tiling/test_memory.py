"""Stitching an image of 400 million pixels must take the memory of its cells, not of its pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("big_image.py")


@pytest.mark.slow
def test_no_image_sized_array_is_made_when_a_large_sparse_image_is_stitched() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "20000", "3000"], capture_output=True, text=True, check=True)
    grown_mb, cells = map(int, done.stdout.split())
    assert cells == 3000
    assert grown_mb < 100, "one byte a pixel would be 400 MB"
