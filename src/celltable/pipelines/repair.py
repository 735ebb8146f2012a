"""Repair annotations: propose edits, apply and record them, undo them, and share them as a patch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from celltable import plugins, schema, work
from celltable.cells import Edit, Instances, Sample
from celltable.errors import CelltableError, InputError, NotFoundError, StoreError
from celltable.plugins.options import settle_each
from celltable.plugins.repair import Repair
from celltable.store import Store, conformed, newest
from celltable.store.edits import edits_table


@dataclass(frozen=True, slots=True)
class Repaired:
    """What `repair` changed, or would change: rows of the edits table, the repairs run, the number of images."""

    edits: pa.Table
    repairs: tuple[str, ...]
    images: int
    batch: int | None

    @property
    def counts(self) -> list[tuple[str, str, int]]:
        """Count edits as (repair, action, edits), in the order of the repairs."""
        rows = zip(self.edits.column("repair").to_pylist(), self.edits.column("action").to_pylist(), strict=True)
        n: dict[tuple[str, str], int] = {}
        for key in rows:
            n[key] = n.get(key, 0) + 1
        place = {name: i for i, name in enumerate(self.repairs)}
        return [(r, a, n[r, a]) for r, a in sorted(n, key=lambda k: (place.get(k[0], 99), k[1]))]


def repair(
    store: Store | str | Path,
    *,
    rules: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
    images: Sequence[str] | None = None,
    dry_run: bool = False,
    workers: int | None = None,
    how: work.How = "threads",
    scheduler: str | None = None,
    progress: bool = False,
) -> Repaired:
    """Apply repairs to the cells of a store and record each change in edits.parquet; the release is not touched.

    Parameters
    ----------
    store
        A store or its path.
    rules
        Names of repairs, or of checks (for the first repair that fixes each); by default, the repairs that cannot lose
        a true cell.
    options
        Option → value if only one of the repairs has it, otherwise "repair.option" → value, or repair →
        {option: value}.
    images
        Only these images.
    dry_run
        Return the edits and write nothing.
    workers, how, scheduler
        Number of workers (None: one per core) and where they run, see `celltable.work.Runner`; the edits are the same.
    progress
        Draw a progress bar on a terminal.

    Raises
    ------
    CelltableError
        If a name is neither a repair nor a rule with a repair, or an option is unknown or out of range.
    """
    runner = work.Runner(workers, how, scheduler)
    ds = newest(store)
    chosen = choose(rules)
    settings = settle_each(chosen, options, "repair")
    ids = list(ds) if images is None else [ds.image(i).image_id for i in images]
    mend = partial(_mend, ds, tuple(chosen), settings)
    parts = runner.map(mend, ids, progress="repairing" if progress else None)
    edits = [edit for part in parts for edit in part]
    names = tuple(r.name for r in chosen)
    table = edits_table(edits)
    if dry_run or not edits:
        return Repaired(table, names, len(ids), None)
    after = ds.edit(table, done=f"repair: {', '.join(names)}")
    return Repaired(after.last_batch(), names, len(ids), after.last_numbers()[1])


def choose(names: Sequence[str]) -> list[Repair]:
    """Look up repairs by their names or by the rules they fix, in the order in which they are applied."""
    known = plugins.names("repairs")
    wanted = [n.replace("_", "-") for n in names]
    if not wanted:
        chosen = [r for r in plugins.load_all("repairs").values() if r.default]
    else:
        chosen = [plugins.load("repairs", n if n in known else _mender(n)) for n in dict.fromkeys(wanted)]
    return sorted({r.name: r for r in chosen}.values(), key=lambda r: (r.order, r.name))


def _mender(rule: str) -> str:
    if rule not in plugins.names("checks"):
        raise NotFoundError(f"No repair or rule is called '{rule}'. Repairs: {', '.join(plugins.names('repairs'))}.")
    repairs: tuple[str, ...] = plugins.load("checks", rule).repairs
    if not repairs:
        raise CelltableError(f"No repair mends the rule '{rule}': its findings need a person to look at them.")
    return repairs[0]


def _mend(
    store: Store, repairs: Sequence[Repair], settings: Mapping[str, Mapping[str, Any]], image_id: str
) -> list[Edit]:
    """Propose all edits of one image; each repair sees the cells as the previous one left them."""
    sample = store[image_id].sample
    made: list[Edit] = []
    for item in repairs:
        edits = list(item.propose(sample, **settings[item.name]))
        if edits:
            sample = applied(sample, edits)
            made.extend(edits)
    return made


def applied(sample: Sample, edits: Iterable[Edit]) -> Sample:
    """Apply edits to a sample: cells are replaced in place, removed, or added at the end; ids do not change.

    Raises
    ------
    InputError
        If two edits change the same cell, or an edit changes a cell that does not exist.
    """
    cells, image_id = sample.instances, sample.image.image_id
    batch = cells.to_arrow(image_id)
    position = {int(n): i for i, n in enumerate(cells.ids)}
    rows: list[pa.Table | None] = [batch.slice(i, 1) for i in range(len(cells))]
    seen: set[int] = set()
    for edit in edits:
        known = edit.instance_id in position
        if edit.instance_id in seen or known == (edit.action == "add"):
            raise InputError(
                f"{edit.repair} wants to {edit.action} cell {edit.instance_id} of {image_id}, which "
                f"{'it already edited' if edit.instance_id in seen else 'exists' if known else 'does not exist'}; "
                "expected one edit per cell, and new ids for new cells."
            )
        seen.add(edit.instance_id)
        new = None if edit.after is None else edit.after.to_arrow(image_id)
        if known:
            rows[position[edit.instance_id]] = new
        else:
            rows.append(new)
    table = pa.concat_tables([schema.empty("instances"), *(r for r in rows if r is not None)]).combine_chunks()
    return replace(sample, instances=Instances.from_arrow(table, cells.size))


def undo(store: Store | str | Path) -> Repaired:
    """Undo the last batch of edits: the instances table is as it was before, and the edits are removed.

    Raises
    ------
    StoreError
        If there is nothing to undo, or a cell has changed since the batch.
    """
    last = newest(store).undo()
    touched = len(set(last.column("image_id").to_pylist()))
    repairs = tuple(dict.fromkeys(last.column("repair").to_pylist()))
    return Repaired(last, repairs, touched, last.column("batch")[0].as_py())


PATCH: Final = {"format": "celltable-patch", "version": 1}


def export_patch(store: Store | str | Path, path: str | Path) -> int:
    """Write all edits of a store to a file without pixels: ``.jsonl`` (one edit per line) or ``.parquet``.

    Returns the number of edits.
    """
    import pyarrow.parquet as pq

    ds = newest(store)
    target, edits = Path(path), ds.edits.arrow
    if edits.num_rows == 0:
        raise StoreError(f"{ds.path} has no edits; there is nothing to export.")
    writers: dict[str, Callable[[Path], None]] = {
        ".parquet": partial(pq.write_table, edits, compression="zstd"),
        ".jsonl": partial(_write_lines, ds, edits),
    }
    if target.suffix not in writers:
        raise CelltableError(f"a patch ends in .jsonl or .parquet; found '{target.name}'.")
    partial_path = target.with_name(target.name + ".incomplete")
    writers[target.suffix](partial_path)
    partial_path.replace(target)
    return int(edits.num_rows)


def _write_lines(ds: Store, edits: pa.Table, path: Path) -> None:
    head = {**PATCH, "dataset": ds.name, "edits": edits.num_rows}
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [head, *edits.to_pylist()])
    path.write_text(text, encoding="utf-8")


def read_patch(path: str | Path) -> pa.Table:
    """Read the edits of a patch file.

    Raises
    ------
    InputError
        If it is not a patch file, or is truncated.
    """
    import pyarrow.parquet as pq

    source = Path(path)
    try:
        if source.suffix == ".parquet":
            return conformed(pq.read_table(source, partitioning=None), "edits").cast(schema.EDITS)
        head, *rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines() if line.strip()]
        if head.get("format") != PATCH["format"] or head.get("edits") != len(rows):
            raise InputError(
                f"{source.name}: expected a first line of a celltable patch and {head.get('edits', 'its')} edits, "
                f"found {len(rows)} lines after it."
            )
        return pa.Table.from_pylist(rows, schema=schema.EDITS)
    except FileNotFoundError:
        raise NotFoundError(f"the patch {source} does not exist.") from None
    except (ValueError, KeyError, AttributeError, pa.ArrowException) as exc:
        if isinstance(exc, InputError):
            raise
        raise InputError(f"{source.name} is not a celltable patch: {exc}. Expected .jsonl or .parquet edits.") from exc


def apply_patch(store: Store | str | Path, path: str | Path, *, dry_run: bool = False) -> Repaired:
    """Apply a patch to another copy of the same data set; every cell must be as it was before the original edit.

    Raises
    ------
    StoreError
        If a cell differs; nothing is changed in that case.
    """
    ds = newest(store)
    table = read_patch(path)
    names = tuple(dict.fromkeys(table.column("repair").to_pylist()))
    touched = len(set(table.column("image_id").to_pylist()))
    if dry_run:
        ds.verify(table)
        return Repaired(table, names, touched, None)
    after = ds.edit(table, done=f"patch: {Path(path).name}")
    return Repaired(after.last_batch(), names, touched, after.last_numbers()[1])


__all__ = ["Repaired", "applied", "apply_patch", "choose", "export_patch", "read_patch", "repair", "undo"]
