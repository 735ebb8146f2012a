"""One function on a thread of its own, beside the work of the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

R = TypeVar("R")


@contextmanager
def background(function: Callable[[], R]) -> Iterator[Callable[[], R]]:
    """Run `function` on a thread beside the block; call what it yields to wait for the result.

    >>> with background(lambda: 6 * 7) as answer:
    ...     answer()
    42
    """
    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(function).result
