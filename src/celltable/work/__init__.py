"""Run one function over many items on threads, processes or a Dask cluster, in order and with progress.

`Runner` says where the work is done and maps a function over items there. Whatever is sent to another process must
pickle: module-level functions, frozen plug-ins, image ids. What cannot or should not be sent (a store, a release) is
replaced by a `Reference` and opened once per process.
"""

from __future__ import annotations

from .background import background
from .progress import track
from .reference import Reference, opened, this_machine
from .runner import How, Runner, default_workers, map

__all__ = ["How", "Reference", "Runner", "background", "default_workers", "map", "opened", "this_machine", "track"]
