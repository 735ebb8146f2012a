"""Run a function on a background thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

R = TypeVar("R")


@contextmanager
def background(function: Callable[[], R]) -> Iterator[Callable[[], R]]:
    """Run `function` on a thread while the block runs; call the yielded function to wait for the result.

    >>> with background(lambda: 6 * 7) as answer:
    ...     answer()
    42
    """
    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(function).result
