"""Balanced subsets: a number of cells (or images) of each class, as a store of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from celltable.disk import exchange, locked, plain_os_errors, staging
from celltable.errors import NotFoundError, StoreError
from celltable.store import Store, open_store
from celltable.store._tables import aligned, write_info, write_instances, write_table

What = Literal["cells", "images"]


def sample(
    store: Store | str | Path,
    out: str | Path,
    *,
    per: str = "class",
    n: int = 200,
    what: What = "cells",
    seed: int = 0,
    overwrite: bool = False,
) -> Store:
    """Draw the same number of cells or images of each class (or of each value of a column) into a new store.

    Parameters
    ----------
    store
        A store or its path.
    out
        The store to write. Its images keep their ids; pixels stay where they are.
    per
        ``class``, or a column of images such as tissue, cell_type, modality, or ``label`` (image-level labels).
    n
        Cells or images of each value; all where there are fewer.
    what
        ``cells``: other cells of the drawn images are left out, and those images are marked as not exhaustively
        annotated. ``images``: whole images are drawn until each value has `n` of them.
    seed
        Decides which.
    overwrite
        Replace a store at `out`.
    """
    ds = store if isinstance(store, Store) else open_store(store)
    target = Path(out)
    if target.exists() and not overwrite:
        raise StoreError(f"{target} exists already. Give another name, or --overwrite to replace it.")
    rng = np.random.default_rng(seed)
    images = ds.images.arrow
    if what == "images":
        ids = _drawn_images(ds, images, per, n, rng)
        images = images.filter(pc.is_in(images.column("image_id"), pa.array(ids, pa.string())))
        cells = ds.instances.arrow.filter(pc.is_in(ds.instances["image_id"], pa.array(ids, pa.string())))
    else:
        cells = _drawn_cells(ds, images, per, n, rng)
        kept = pc.unique(cells.column("image_id"))
        images = images.filter(pc.is_in(images.column("image_id"), kept))
        at = images.schema.get_field_index("exhaustive")
        images = images.set_column(at, images.schema.field(at), pa.array([False] * images.num_rows))
    done = f"sample: {n} {what} per {per}, seed {seed}"
    info = {**ds.info, "history": [*ds.info.get("history", []), done]}
    with plain_os_errors(target), staging(target) as folder:
        images, cells = aligned(images, cells)
        write_table(folder / "images.parquet", images)
        write_instances(folder / "instances.parquet", images, [cells])
        found = ds.findings.arrow
        write_table(
            folder / "findings.parquet",
            found.filter(pc.is_in(found["image_id"], images.column("image_id").combine_chunks())),
        )
        write_info(folder, info)
        if target.exists():
            with locked(target):
                exchange(folder, target)
        else:
            exchange(folder, target)
    return open_store(target)


def _drawn_cells(ds: Store, images: pa.Table, per: str, n: int, rng: np.random.Generator) -> pa.Table:
    cells = ds.instances.arrow
    if per == "class":
        values = cells.column("class_name").to_pylist()
    else:
        by_image = dict(zip(images.column("image_id").to_pylist(), _column(images, per), strict=True))
        values = [by_image[i] for i in cells.column("image_id").to_pylist()]
    return cells.take(pa.array(_pick(values, n, rng), pa.int64()))


def _drawn_images(ds: Store, images: pa.Table, per: str, n: int, rng: np.random.Generator) -> list[str]:
    ids = images.column("image_id").to_pylist()
    if per == "class":
        table = ds.columns("image_id", "class_name").arrow.group_by(["image_id", "class_name"]).aggregate([])
        pairs = list(zip(table.column("image_id").to_pylist(), table.column("class_name").to_pylist(), strict=True))
    elif per == "label":
        pairs = [(i, v) for i, row in zip(ids, images.column("labels").to_pylist(), strict=True) for v in row or ()]
    else:
        pairs = list(zip(ids, _column(images, per), strict=True))
    pairs.sort(key=lambda p: (str(p[1]), p[0]))
    chosen: set[str] = set()
    for value in sorted({str(v) for _, v in pairs}):
        members = [i for i, v in pairs if str(v) == value]
        have = sum(i in chosen for i in members)
        rest = [i for i in members if i not in chosen]
        chosen.update(rest[k] for k in rng.permutation(len(rest))[: max(0, n - have)].tolist())
    return sorted(chosen)


def _column(images: pa.Table, per: str) -> list[Any]:
    if per not in images.column_names:
        raise NotFoundError(
            f"No column of the images is called '{per}'. Use class, label, or one of {', '.join(images.column_names)}."
        )
    found: list[Any] = images.column(per).to_pylist()
    return found


def _pick(values: Sequence[Any], n: int, rng: np.random.Generator) -> list[int]:
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(str(value), []).append(row)
    chosen: list[int] = []
    for value in sorted(rows):
        members = rows[value]
        chosen.extend(members[k] for k in rng.permutation(len(members))[:n].tolist())
    return sorted(chosen)
