"""Combine several data sets: merge images and cells, map classes, combine licences, find near-duplicates."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from celltable import plugins, schema
from celltable.cells import Finding, findings_table
from celltable.errors import CelltableError, InputError
from celltable.geometry.fingerprint import near_pairs
from celltable.store import Description, Store, combine, newest, refuse_occupied, with_columns, write_store
from celltable.store.edits import renumbered, rewritten
from celltable.version import VERSION

from ._fingerprints import fingerprints

Unmapped = Literal["keep", "drop", "refuse"]
Classes = Mapping[str, str]
NEAR = "near-duplicate-image"


def merge(
    stores: Sequence[Store | str | Path],
    out: str | Path,
    *,
    classes: Classes | str | Path | None = None,
    unmapped: Unmapped = "keep",
    name: str = "merged",
    similarity: bool = True,
    overwrite: bool = False,
    workers: int | None = None,
    progress: bool = False,
) -> Store:
    """Merge several stores into one.

    Image ids become ``<data set>/<image id>``, with the folder name instead if two stores hold the same data set.
    Near-duplicate images, also across data sets, become findings and share one leakage group, so that no split can
    separate them. Findings and edits are kept; batches of repairs are numbered one store after the other, so that
    ``repair --undo`` also works in the merged store.

    Parameters
    ----------
    stores
        Two or more stores or their paths.
    out
        The store to write.
    classes
        Old class → new class, as a mapping or a TOML or JSON file; ``dataset:class`` on the left maps the class of one
        data set only.
    unmapped
        What happens to classes that are not in the mapping: ``keep`` them, ``drop`` them (the cell stays, without a
        class), or ``refuse``.
    name
        Name of the merged data set.
    similarity
        Compare the pixels of all images.
    overwrite, workers, progress
        Replace `out`; number of threads (None: one per core); draw a progress bar.

    Raises
    ------
    CelltableError, InputError, StoreError
        If there are fewer than two stores, a store is given twice, annotations are mixed with predictions, the mapping
        cannot be read, has a class that is not in any store or (with ``refuse``) lacks one, or `out` cannot be
        written.
    """
    opened = _named([newest(s) for s in stores])
    target = Path(out)
    refuse_occupied(target, overwrite, list(opened.values()))
    mapping = _mapping(classes)
    if classes is not None:
        _check_classes(opened, mapping, unmapped)
    keys = _source_keys(opened)
    images = pa.concat_tables([_images(name, s, keys[name]) for name, s in opened.items()])
    cells = pa.concat_tables([_instances(name, s, mapping, unmapped) for name, s in opened.items()])
    findings = pa.concat_tables(
        [schema.empty("findings"), *(_prefixed(s.findings.arrow, n) for n, s in opened.items())]
    )
    if similarity:
        pairs, trouble = _look_alikes(opened, workers, progress)
        findings = findings.filter(
            pc.not_equal(findings.column("rule"), NEAR)
        )  # pairs within one store are found again
        findings = pa.concat_tables([findings, findings_table([*_as_findings(pairs), *trouble])])
        images = _joined_groups(images, pairs)
    edits = renumbered([_edits(name, s, mapping, unmapped) for name, s in opened.items()])
    used = sorted({c for c in cells.column("class_name").unique().to_pylist() if c})
    return write_store(target, _info(opened, keys, name, used, target), images, cells, findings, edits)


def _named(stores: Sequence[Store]) -> dict[str, Store]:
    """Label each store by its data set, or by its folder if two stores hold the same data set."""
    if len(stores) < 2:
        raise CelltableError(f"merge needs two or more stores; found {stores[0].path if stores else 'none'}.")
    kinds = sorted({s.description.kind for s in stores})
    if len(kinds) > 1:
        raise CelltableError(f"merge takes stores of the same kind; found {' and '.join(kinds)}.")
    names = [s.name for s in stores]
    unique = [n if names.count(n) == 1 else s.path.resolve().stem for n, s in zip(names, stores, strict=True)]
    twice = sorted({n for n in unique if unique.count(n) > 1})
    if twice:
        raise CelltableError(
            f"two of the stores are called '{twice[0]}'; expected different data sets or folder names: rename one."
        )
    return dict(zip(unique, stores, strict=True))


def _mapping(classes: Classes | str | Path | None) -> dict[str, str]:
    if classes is None:
        return {}
    if not isinstance(classes, str | Path):
        return dict(classes)
    path = Path(classes)
    try:
        text = path.read_text(encoding="utf-8-sig")
        mapping = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as exc:
        why = exc.strerror or exc
        raise InputError(f"{path}: expected a TOML or JSON file of old class → new class; {why}.") from exc
    except ValueError as exc:
        raise InputError(f"{path}: expected a TOML or JSON file of old class → new class ({exc}).") from exc
    if not isinstance(mapping, dict) or not all(isinstance(v, str) for v in mapping.values()):
        raise InputError(f'{path}: expected old class → new class, for example {{"pannuke:Neoplastic": "tumour"}}.')
    return {str(k): v for k, v in mapping.items()}


def _check_classes(stores: Mapping[str, Store], mapping: Mapping[str, str], unmapped: Unmapped) -> None:
    """Refuse old classes that no store has and, if asked to, classes that are missing from the mapping."""
    has = {name: _classes_of(store) for name, store in stores.items()}
    known = {c for classes in has.values() for c in classes}
    known |= {f"{prefix}:{c}" for name, s in stores.items() for prefix in (name, s.name) for c in has[name]}
    wrong = [c for c in mapping if c not in known]
    if wrong:
        near = difflib.get_close_matches(wrong[0], sorted(known), n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(sorted(set().union(*has.values())))}."
        raise InputError(f"the mapping names the class '{wrong[0]}', which no store has. {hint}")
    if unmapped == "refuse":
        lost = [(n, c) for n, s in stores.items() for c in sorted(has[n]) if _mapped((n, s.name), c, mapping, "") == ""]
        if lost:
            rest = f" (and {len(lost) - 1:,} more)" if len(lost) > 1 else ""
            raise InputError(
                f"the class '{lost[0][1]}' of {lost[0][0]}{rest} is not in the mapping; "
                "add it, or keep or drop unmapped classes."
            )


def _classes_of(store: Store) -> set[str]:
    return _classes_in(store.columns("class_name", "class_names").arrow)


def _classes_in(table: pa.Table) -> set[str]:
    several = pc.unique(pc.list_flatten(table.column("class_names"))).to_pylist()
    return {c for c in [*several, *table.column("class_name").unique().to_pylist()] if c is not None}


def _source_keys(stores: Mapping[str, Store]) -> dict[str, dict[str, str]]:
    """Map the source keys of each store to keys that are unique in the merged store; "" is the store's own folder."""
    taken: set[str] = set()
    made = {}
    for name, s in stores.items():
        keys = {}
        for key in ["", *s.description.sources]:
            new = f"{name}:store" if key == "" else key
            while new in taken:
                new += "'"
            taken.add(new)
            keys[key] = new
        made[name] = keys
    return made


def _images(name: str, store: Store, keys: Mapping[str, str]) -> pa.Table:
    images = store.images.arrow
    ids = [f"{name}/{i}" for i in images.column("image_id").to_pylist()]
    moved = [[{**p, "source": keys[p["source"]]} for p in row or ()] for row in images.column("pixels").to_pylist()]
    groups = [None if g is None else f"{name}/{g}" for g in images.column("leakage_group").to_pylist()]
    return with_columns(images, {"image_id": ids, "pixels": moved, "leakage_group": groups})


def _instances(dataset: str, store: Store, mapping: Mapping[str, str], unmapped: Unmapped) -> pa.Table:
    return _renamed(store.instances.arrow, (dataset, store.name), mapping, unmapped)


def _edits(dataset: str, store: Store, mapping: Mapping[str, str], unmapped: Unmapped) -> pa.Table:
    return rewritten(store.edits.arrow, lambda cells: _renamed(cells, (dataset, store.name), mapping, unmapped))


def _renamed(cells: pa.Table, datasets: tuple[str, str], mapping: Mapping[str, str], unmapped: Unmapped) -> pa.Table:
    """Convert cells for the merged store; `datasets` are the store's label in it and the name of its data set."""
    dataset = datasets[0]
    columns: dict[str, Any] = {"image_id": [f"{dataset}/{i}" for i in cells.column("image_id").to_pylist()]}
    if mapping:
        names, many = cells.column("class_name").to_pylist(), cells.column("class_names").to_pylist()
        table = {c: _mapped(datasets, c, mapping, c if unmapped == "keep" else None) for c in _classes_in(cells)}
        several = [None if row is None else _once(table[c] for c in row) for row in many]
        columns["class_names"] = several
        columns["class_name"] = [
            row[0] if row else None if n is None else table[n] for n, row in zip(names, several, strict=True)
        ]
        if any(row is not None and len(row) != len(old) for row, old in zip(several, many, strict=True)):
            scores = cells.column("class_scores").to_pylist()
            columns["class_scores"] = [
                None if row is not None and len(row) != len(old) else s
                for row, old, s in zip(several, many, scores, strict=True)
            ]
    return with_columns(cells, columns)


def _once(names: Iterable[str | None]) -> list[str]:
    return list(dict.fromkeys(n for n in names if n is not None))


def _mapped(datasets: tuple[str, str], name: str, mapping: Mapping[str, str], otherwise: str | None) -> str | None:
    """Look up the new class: for the data set (by either name), else for any data set, else `otherwise`."""
    keys = [*(f"{d}:{name}" for d in datasets), name]
    return next((mapping[k] for k in keys if k in mapping), otherwise)


def _prefixed(findings: pa.Table, dataset: str) -> pa.Table:
    ids = [None if i is None else f"{dataset}/{i}" for i in findings.column("image_id").to_pylist()]
    return with_columns(findings, {"image_id": ids})


def _look_alikes(
    stores: Mapping[str, Store], workers: int | None, progress: bool
) -> tuple[list[tuple[str, str, int]], list[Finding]]:
    entries = [(s, i) for s in stores.values() for i in s]
    ids = [f"{name}/{i}" for name, s in stores.items() for i in s]
    hashes, trouble = fingerprints(entries, ids, workers, progress)
    return [(ids[a], ids[b], bits) for a, b, bits in near_pairs(hashes)], trouble


def _as_findings(pairs: list[tuple[str, str, int]]) -> list[Finding]:
    plugins.load("checks", NEAR)  # declares the rule
    return [
        Finding(
            NEAR, f"looks like {a} ({bits} of 64 bits of the perceptual hash differ)", image_id=b, value=float(bits)
        )
        for a, b, bits in pairs
    ]


def _joined_groups(images: pa.Table, pairs: list[tuple[str, str, int]]) -> pa.Table:
    from celltable.splits import units_of

    ids = images.column("image_id").to_pylist()
    at = {i: n for n, i in enumerate(ids)}
    units = units_of(images, [(at[a], at[b]) for a, b, _ in pairs])
    involved = {units[at[i]] for a, b, _ in pairs for i in (a, b)}
    old = images.column("leakage_group").to_pylist()
    sources = images.column("group_source").to_pylist()
    groups = [u if u in involved else g for u, g in zip(units, old, strict=True)]
    derived = ["derived" if g != o else s for g, o, s in zip(groups, old, sources, strict=True)]
    return with_columns(images, {"leakage_group": groups, "group_source": derived})


def _info(
    stores: Mapping[str, Store], keys: Mapping[str, Mapping[str, str]], name: str, classes: list[str], out: Path
) -> Description:
    past = [f"{label}: {line}" for label, s in stores.items() for line in s.description.history]
    return combine(
        stores, keys, out, name=name, classes=tuple(classes), reader={"merged": list(stores), "celltable": VERSION},
        history=(*past, f"merged from {', '.join(stores)}", *_batches(stores)),
    )  # fmt: skip


def _batches(stores: Mapping[str, Store]) -> list[str]:
    """Explain how batches of edits are numbered now, if that differs from their store's history."""
    lines, before = [], 0
    for label, store in stores.items():
        last = max(store.edits["batch"].to_pylist(), default=0)
        if before and last:
            many = f"batches 1 to {last} are batches {before + 1} to {before + last} here"
            lines.append(f"edits of {label}: {many if last > 1 else f'batch 1 is batch {before + 1} here'}")
        before += last
    return lines
