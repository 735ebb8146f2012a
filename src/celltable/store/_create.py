"""Write a store from tables, all at once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa

from celltable import schema
from celltable.disk import exchange, locked, plain_os_errors, staging

from ._store import Store, open_store
from ._tables import aligned
from ._update import sealed, write_description, write_tables
from .description import Description, described


def write_store(
    out: Path,
    info: Description | Mapping[str, Any],
    images: pa.Table,
    cells: pa.Table,
    findings: pa.Table | None = None,
    edits: pa.Table | None = None,
) -> Store:
    """Write a store from tables in one atomic step, replacing an existing one, and open it."""
    with plain_os_errors(out), staging(out) as folder:
        images, cells = aligned(images, cells)
        tables = {"images": images, "instances": cells}
        tables["findings"] = schema.empty("findings") if findings is None else findings
        if edits is not None and edits.num_rows:
            tables["edits"] = edits
        write_tables(folder, tables, images)
        write_description(folder, sealed(folder, described(info), tables))
        with locked(out) if out.exists() else nullcontext():
            exchange(folder, out)
    return open_store(out)
