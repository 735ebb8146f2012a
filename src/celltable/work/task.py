"""Calls in another process: a function is pickled once for all its items.

Function and items are sent as bytes, so that no scheduler inspects them, and anything that cannot be pickled is refused
in one sentence before anything is sent.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from celltable.errors import CelltableError, WorkerError


def packed(value: Any, what: str) -> bytes:
    """Pickle a function or an item.

    Raises
    ------
    WorkerError
        If it cannot be pickled.
    """
    try:
        return pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError) as exc:
        raise WorkerError(
            f"{what} cannot be sent to another process ({exc}). Use threads (--how threads), or functions and classes "
            "at the top of an importable module."
        ) from exc


def run(function: bytes, item: bytes) -> Any:
    """Unpickle and call in the worker process; a function is unpickled once per process."""
    call = _unpacked(function)
    try:
        return call(pickle.loads(item))
    except Exception as exc:
        if _travels(exc):
            raise
        raise _plain(exc) from None


@lru_cache(maxsize=8)
def _unpacked(function: bytes) -> Callable[[Any], Any]:
    call: Callable[[Any], Any] = pickle.loads(function)
    return call


def _travels(exc: Exception) -> bool:
    try:
        return type(pickle.loads(pickle.dumps(exc))) is type(exc)
    except Exception:  # noqa: BLE001  whatever goes wrong in somebody's __reduce__ or __init__
        return False


def _plain(exc: Exception) -> CelltableError:
    """Return the text of an exception that does not pickle, including its notes."""
    plain = CelltableError(f"{type(exc).__name__}: {exc}")
    for note in getattr(exc, "__notes__", ()):
        plain.add_note(note)
    return plain
