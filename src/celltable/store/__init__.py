"""A data set on disk: a folder of Parquet files and one JSON file that any tool can read.

Stores are opened lazily and replaced atomically. ``open_store(path)`` opens the newest generation, which does not
change while it is open. ``StoreWriter`` writes a store image by image and resumes after an interruption,
``write_store`` writes one from tables, and ``Store.update`` replaces tables: a new folder is made beside the old one
and the two are exchanged in one step, so neither a reader nor a crash ever sees half a change.
"""

from __future__ import annotations

from ._create import write_store
from ._derive import combine, derive, sources_beside, strictest
from ._store import Store, StoreReference, as_store, newest, open_store
from ._tables import conformed, with_columns
from ._update import refuse_occupied
from ._views import ImageView, Table
from ._writer import StoreWriter
from .description import Description, Source

__all__ = [
    "Description",
    "ImageView",
    "Source",
    "Store",
    "StoreReference",
    "StoreWriter",
    "Table",
    "as_store",
    "combine",
    "conformed",
    "derive",
    "newest",
    "open_store",
    "refuse_occupied",
    "sources_beside",
    "strictest",
    "with_columns",
    "write_store",
]
