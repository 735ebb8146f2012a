"""An ordered map over threads, processes or a Dask cluster, with progress."""

from __future__ import annotations

from .mapping import How, background, default_workers, map, track

__all__ = ["How", "background", "default_workers", "map", "track"]
