"""Draw balanced subsets: the same number of cells (or images) per class, in a new store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from celltable.errors import CelltableError, NotFoundError
from celltable.splits import strata_of
from celltable.store import Store, derive, newest, refuse_occupied, with_columns, write_store
from celltable.store.edits import Key, renumbered, rewritten

What = Literal["cells", "images"]
NONE: Final = "(no class)"
OWN: Final = "drawn from"  # source key of the store drawn from, if it holds copies of the pixels


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
        The store to write. Images keep their ids and pixels stay where they are; the findings and edits of what was
        drawn are copied.
    per
        ``class``; or a column or metadata key of the images such as tissue, cell_type or modality; or ``density``; or,
        for images, ``label`` (image-level labels). Cells without a class form a class of their own.
    n
        Cells or images per value; all of them if there are fewer.
    what
        ``cells``: the other cells of the drawn images are left out, and images that lost cells are marked as not
        exhaustively annotated. ``images``: whole images are drawn until each value has `n` of them (or more, as an
        image may have several values).
    seed
        Seed of the random draw.
    overwrite
        Replace a store at `out`.

    Raises
    ------
    NotFoundError, CelltableError, StoreError
        If the column does not exist, there is nothing to draw from, or `out` cannot be written.
    """
    ds = newest(store)
    target = Path(out)
    refuse_occupied(target, overwrite, [ds])
    if n < 1:
        raise CelltableError(f"{n} {what} per {per} were requested; expected 1 or more.")
    rng = np.random.default_rng(seed)
    images, cells = (_by_cells if what == "cells" else _by_images)(ds, per, n, rng)
    if not images.num_rows:
        raise NotFoundError(f"{ds.path.name} has no {what} with a {per} to draw from; expected at least one.")
    kept = _Kept(set(images.column("image_id").to_pylist()), _keys(cells) if what == "cells" else None)
    found, edits = kept.rows(ds.findings.arrow), kept.edits(ds.edits.arrow)
    done = f"sample: {n} {what} per {per}, seed {seed}"
    left = len(ds.edits) - edits.num_rows
    done += f"; {left:,} edits of what was not drawn stay with {ds.path.name}" if left else ""
    info = derive(ds, target, done=done, own=OWN)
    return write_store(target, info, images, cells, found, edits)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The images drawn, and the cells by (image, number), or None for all cells of the images."""

    images: set[str]
    cells: set[Key] | None

    def rows(self, table: pa.Table) -> pa.Table:
        """Keep the findings or edits that concern what was drawn."""
        keys = zip(table.column("image_id").to_pylist(), table.column("instance_id").to_pylist(), strict=True)
        return table.filter(pa.array([self._has(image, cell) for image, cell in keys], pa.bool_()))

    def _has(self, image: str | None, cell: int | None) -> bool:
        return image in self.images and (cell is None or self.cells is None or (image, cell) in self.cells)

    def edits(self, edits: pa.Table) -> pa.Table:
        """Keep the edits of the cells drawn, numbered from 1, without parents that were not drawn."""
        edits = renumbered([self.rows(edits)])
        drawn = self.cells
        return edits if drawn is None else rewritten(edits, lambda cells: _without_lost_parents(cells, drawn))


def _keys(cells: pa.Table) -> set[Key]:
    return set(zip(cells.column("image_id").to_pylist(), cells.column("instance_id").to_pylist(), strict=True))


def _relocated(images: pa.Table) -> pa.Table:
    """Make pixels in the original store's folder refer to the source that represents this store."""
    rows = images.column("pixels").to_pylist()
    return with_columns(images, {"pixels": [[{**p, "source": p["source"] or OWN} for p in row or ()] for row in rows]})


def _by_cells(ds: Store, per: str, n: int, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    cells, images = ds.instances.arrow, ds.images.arrow
    cells = cells.take(pa.array(_pick(_values_of_cells(ds, per), n, rng), pa.int64()))
    images = images.filter(pc.is_in(images.column("image_id"), pc.unique(cells.column("image_id"))))
    left = Counter(cells.column("image_id").to_pylist())
    complete = zip(*(images.column(c).to_pylist() for c in ("image_id", "n_instances", "exhaustive")), strict=True)
    images = with_columns(images, {"exhaustive": [whole and left[i] == had for i, had, whole in complete]})
    return _relocated(images), _without_lost_parents(cells, _keys(cells))


def _without_lost_parents(cells: pa.Table, drawn: set[Key]) -> pa.Table:
    parents = zip(cells.column("image_id").to_pylist(), cells.column("parent").to_pylist(), strict=True)
    return with_columns(cells, {"parent": [p if (i, p) in drawn else None for i, p in parents]})


def _values_of_cells(ds: Store, per: str) -> list[str]:
    if per == "class":
        return [NONE if v is None else v for v in ds.columns("class_name").column(0).to_pylist()]
    if per == "label":
        raise CelltableError("labels belong to images, not to cells: draw whole images with --images.")
    images = ds.images.arrow
    of_image = dict(zip(images.column("image_id").to_pylist(), strata_of(images, [per]), strict=True))
    return [of_image[i] for i in ds.columns("image_id").column(0).to_pylist()]


def _by_images(ds: Store, per: str, n: int, rng: np.random.Generator) -> tuple[pa.Table, pa.Table]:
    members = _images_of_values(ds, per)
    chosen: set[str] = set()
    for value in sorted(members):
        rest = [i for i in members[value] if i not in chosen]
        lacking = n - (len(members[value]) - len(rest))
        chosen.update(rest[k] for k in rng.permutation(len(rest))[: max(0, lacking)].tolist())
    ids = pa.array(sorted(chosen), pa.string())
    images, cells = ds.images.arrow, ds.instances.arrow
    images = images.filter(pc.is_in(images.column("image_id"), ids))
    return _relocated(images), cells.filter(pc.is_in(cells.column("image_id"), ids))


def _images_of_values(ds: Store, per: str) -> dict[str, list[str]]:
    """Map each value to the ids of the images that have it, in order."""
    images = ds.images.arrow
    ids = images.column("image_id").to_pylist()
    if per == "class":
        table = ds.columns("image_id", "class_name").arrow.group_by(["image_id", "class_name"]).aggregate([])
        pairs = [(i, NONE if v is None else v) for i, v in zip(*(c.to_pylist() for c in table.columns), strict=True)]
    elif per == "label":
        pairs = [(i, v) for i, row in zip(ids, images.column("labels").to_pylist(), strict=True) for v in row or ()]
    else:
        pairs = list(zip(ids, strata_of(images, [per]), strict=True))
    found: dict[str, list[str]] = {}
    for image_id, value in sorted(pairs):
        found.setdefault(value, []).append(image_id)
    return found


def drawn(store: Store, per: str, what: What) -> dict[str, int]:
    """Count the cells (or images) of each value."""
    if what == "cells":
        return dict(sorted(Counter(_values_of_cells(store, per)).items()))
    return {value: len(ids) for value, ids in sorted(_images_of_values(store, per).items())}


def _pick(values: Sequence[str], n: int, rng: np.random.Generator) -> list[int]:
    rows: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        rows.setdefault(value, []).append(row)
    chosen: list[int] = []
    for value in sorted(rows):
        members = rows[value]
        chosen.extend(members[k] for k in rng.permutation(len(members))[:n].tolist())
    return sorted(chosen)
