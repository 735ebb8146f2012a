"""References that are sent to another process instead of open objects, which it then opens itself."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

KEPT: Final = 8  # objects kept open per process
_held: OrderedDict[tuple[int, Reference[Any]], Any] = OrderedDict()
_lock = threading.RLock()  # opening one thing may open another: a scan opens its release


class Reference(ABC, Generic[T]):
    """Tells another process how to open something that cannot be sent to it; subclasses are frozen dataclasses.

    A class whose objects are sent this way returns ``(opened, (reference,))`` from its ``__reduce__``.
    """

    __slots__ = ()

    @abstractmethod
    def open(self) -> T:
        """Open it in this process.

        Raises
        ------
        CelltableError
            If it has changed since the reference was made, or this machine cannot see it.
        """


def opened(reference: Reference[T]) -> T:
    """Open what a reference refers to, or return what this process already opened for an equal reference."""
    key = (os.getpid(), reference)  # a forked process must not share files with its parent
    with _lock:
        if key not in _held:
            _held[key] = reference.open()
            while len(_held) > KEPT:
                _held.popitem(last=False)
        _held.move_to_end(key)
        value: T = _held[key]
        return value


def this_machine() -> str:
    """Name this process for messages: machine and process id."""
    import socket

    return f"{socket.gethostname()} (process {os.getpid()})"
