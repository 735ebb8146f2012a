"""What travels to another process in place of something open: how to open it there."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

KEPT: Final = 8  # things held open per process
_held: OrderedDict[tuple[int, Reference[Any]], Any] = OrderedDict()
_lock = threading.RLock()  # opening one thing may open another: a scan opens its release


class Reference(ABC, Generic[T]):
    """How another process opens something that cannot be sent to it; subclasses are frozen dataclasses that pickle.

    A class whose objects travel returns ``(opened, (reference,))`` from its ``__reduce__``.
    """

    __slots__ = ()

    @abstractmethod
    def open(self) -> T:
        """Open it in this process.

        Raises
        ------
        CelltableError
            If it is not what it was when the reference was made, or this machine does not see it.
        """


def opened(reference: Reference[T]) -> T:
    """Open what a reference means, or return what this process has opened for an equal reference before."""
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
    """Name this process in a message: machine and process id."""
    import socket

    return f"{socket.gethostname()} (process {os.getpid()})"
