"""Run one function over many items on threads, on processes or on a Dask cluster, in order and with progress.

`Runner` says where the work is done and maps a function over items there. Whatever is sent to another process pickles:
functions of modules, frozen plug-ins, ids of images. What cannot be sent, or should not be (a store, a release), goes
as a `Reference` and is opened once per process.
"""

from __future__ import annotations

from .background import background
from .progress import track
from .reference import Reference, opened, this_machine
from .runner import How, Runner, default_workers, map

__all__ = ["How", "Reference", "Runner", "background", "default_workers", "map", "opened", "this_machine", "track"]
