"""Several data sets as one: images and cells together, classes mapped openly, terms combined, look-alikes found."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from celltable import __version__, parallel, schema
from celltable.disk import exchange, locked, plain_os_errors, staging
from celltable.errors import CelltableError, InputError, StoreError
from celltable.geometry.fingerprint import near_pairs, perceptual_hash
from celltable.records import Finding, findings_table
from celltable.store import Store, open_store
from celltable.store._tables import aligned, write_info, write_instances, write_table

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
    """Make one store of several.

    Image ids become ``<data set>/<image id>``. Near-duplicate images, also across data sets, become findings and share
    one leakage group, so that no split can separate them.

    Parameters
    ----------
    stores
        Stores or their paths, of different names.
    out
        The store to write.
    classes
        Old class → new class, as a mapping or a TOML or JSON file; ``dataset:class`` on the left means one data set's.
    unmapped
        What happens to classes that the mapping does not name: kept as they are, dropped (the cell stays, without a
        class), or refused.
    name
        Name of the merged data set.
    similarity
        Compare the pixels of all images.
    overwrite, workers, progress
        Replace `out`; threads (None: every core); draw a bar.
    """
    opened = [s if isinstance(s, Store) else open_store(s) for s in stores]
    target = Path(out)
    _refuse(opened, target, overwrite)
    mapping = _mapping(classes)
    keys = _source_keys(opened)
    images = pa.concat_tables([_images(s, keys[i]) for i, s in enumerate(opened)])
    cells = pa.concat_tables([_instances(s, mapping, unmapped) for s in opened])
    found = pa.concat_tables([schema.empty("findings"), *(_prefixed(s.findings.arrow, s.name) for s in opened)])
    if similarity:
        pairs = _look_alikes(opened, workers, progress)
        found = pa.concat_tables([found, findings_table(_as_findings(pairs))])
        images = _joined_groups(images, pairs)
    info = _info(opened, keys, name, sorted({c for c in cells.column("class_name").unique().to_pylist() if c}))
    with plain_os_errors(target), staging(target) as folder:
        images, cells = aligned(images, cells)
        write_table(folder / "images.parquet", images)
        write_instances(folder / "instances.parquet", images, [cells])
        write_table(folder / "findings.parquet", found)
        write_info(folder, info)
        if target.exists():
            with locked(target):
                exchange(folder, target)
        else:
            exchange(folder, target)
    return open_store(target)


def _refuse(stores: Sequence[Store], out: Path, overwrite: bool) -> None:
    names = [s.name for s in stores]
    if len(stores) < 2 or len(set(names)) < len(names):
        raise CelltableError(
            f"merge needs two or more data sets of different names; found {', '.join(names) or 'none'}."
        )
    if out.exists() and not overwrite:
        raise StoreError(f"{out} exists already. Give another name, or --overwrite to replace it.")
    if out.exists() and not (out / "dataset.json").exists():
        raise StoreError(f"{out} exists and is not a celltable store; it was left untouched. Give another name.")


def _mapping(classes: Classes | str | Path | None) -> dict[str, str]:
    if classes is None:
        return {}
    if not isinstance(classes, str | Path):
        return dict(classes)
    path = Path(classes)
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError) as exc:
        raise InputError(f"{path}: expected a TOML or JSON file of old class → new class ({exc}).") from exc
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise InputError(f'{path}: expected old class → new class, for example {{"pannuke:Neoplastic": "tumour"}}.')
    return {str(k): v for k, v in found.items()}


def _source_keys(stores: Sequence[Store]) -> list[dict[str, str]]:
    """For each store: its source key → a key that is unique in the merged store; "" means its own folder."""
    taken: set[str] = set()
    made = []
    for s in stores:
        keys = {}
        for key in ["", *s.info.get("sources", {})]:
            new = f"{s.name}:store" if key == "" else key
            while new in taken:
                new += "'"
            taken.add(new)
            keys[key] = new
        made.append(keys)
    return made


def _images(store: Store, keys: Mapping[str, str]) -> pa.Table:
    images = store.images.arrow
    ids = pa.array([f"{store.name}/{i}" for i in images.column("image_id").to_pylist()])
    moved = [[{**p, "source": keys[p["source"]]} for p in row or ()] for row in images.column("pixels").to_pylist()]
    groups = [None if g is None else f"{store.name}/{g}" for g in images.column("leakage_group").to_pylist()]
    columns = {
        "image_id": ids,
        "pixels": pa.array(moved, schema.PIXELS),
        "leakage_group": pa.array(groups, pa.string()),
    }
    return _with(images, columns)


def _instances(store: Store, mapping: Mapping[str, str], unmapped: Unmapped) -> pa.Table:
    cells = store.instances.arrow
    prefix = pa.array([f"{store.name}/{i}" for i in cells.column("image_id").to_pylist()], pa.string())
    columns: dict[str, pa.Array] = {"image_id": prefix}
    if mapping:
        names = cells.column("class_name").to_pylist()
        table = {c: _mapped(store.name, c, mapping, unmapped) for c in {n for n in names if n is not None}}
        many = cells.column("class_names").to_pylist()
        for c in {c for row in many for c in row or ()}:
            table.setdefault(c, _mapped(store.name, c, mapping, unmapped))
        columns["class_name"] = pa.array([table.get(n) for n in names], pa.string())
        several = [None if row is None else [t for c in row if (t := table[c]) is not None] for row in many]
        columns["class_names"] = pa.array(several, pa.list_(pa.string()))
    return _with(cells, columns)


def _mapped(dataset: str, name: str, mapping: Mapping[str, str], unmapped: Unmapped) -> str | None:
    new = mapping.get(f"{dataset}:{name}", mapping.get(name))
    if new is None and unmapped == "refuse":
        raise InputError(
            f"the class '{name}' of {dataset} is not in the mapping; add it, or choose to keep or drop such."
        )
    return new if new is not None else name if unmapped == "keep" else None


def _prefixed(findings: pa.Table, dataset: str) -> pa.Table:
    ids = [None if i is None else f"{dataset}/{i}" for i in findings.column("image_id").to_pylist()]
    return _with(findings, {"image_id": pa.array(ids, pa.string())})


def _with(table: pa.Table, columns: Mapping[str, pa.Array]) -> pa.Table:
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), values)
    return table


def _look_alikes(stores: Sequence[Store], workers: int | None, progress: bool) -> list[tuple[str, str, int]]:
    where = [(s, i) for s in stores for i in s]

    def hashed(entry: tuple[Store, str]) -> int:
        return perceptual_hash(entry[0][entry[1]].pixels)

    values = list(parallel.map(hashed, where, workers=workers, progress="comparing images" if progress else None))
    ids = [f"{s.name}/{i}" for s, i in where]
    return [(ids[a], ids[b], bits) for a, b, bits in near_pairs(values)]


def _as_findings(pairs: list[tuple[str, str, int]]) -> list[Finding]:
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
    return _with(
        images, {"leakage_group": pa.array(groups, pa.string()), "group_source": pa.array(derived, pa.string())}
    )


def _info(stores: Sequence[Store], keys: Sequence[Mapping[str, str]], name: str, classes: list[str]) -> dict[str, Any]:
    sources = {}
    for store, new in zip(stores, keys, strict=True):
        sources.update({new[k]: v for k, v in store.info.get("sources", {}).items()})
        sources[new[""]] = {
            "path": str(store.path.resolve()),
            "relative": store.path.name,
            "size": None,
            "sha256": None,
        }
    infos = [s.info for s in stores]
    return {
        "name": name,
        "title": "Merged: " + ", ".join(s.name for s in stores),
        "kind": infos[0].get("kind", "annotations"),
        "licence": strictest(infos),
        "non_commercial": any(i.get("non_commercial") for i in infos),
        "citation": " | ".join(dict.fromkeys(str(i["citation"]) for i in infos if i.get("citation"))),
        "licences": {s.name: s.info.get("licence") for s in stores},
        "classes": classes,
        "modality": sorted({m for i in infos for m in i.get("modality", [])}),
        "sources": sources,
        "reader": {"merged": [s.name for s in stores], "celltable": __version__},
        "history": [f"merged from {', '.join(s.name for s in stores)}"],
    }


# From the freest to the strictest; a licence that is not stated permits nothing beyond the law.
_STRICTNESS = ("cc0", "mit", "bsd", "apache", "cc by", "cc by-sa", "cc by-nc", "cc by-nc-sa", "cc by-nc-nd")


def strictest(infos: Sequence[Mapping[str, Any]]) -> str:
    """The strictest of the licences, named with the data set it comes from."""

    def rank(info: Mapping[str, Any]) -> int:
        text = " ".join(str(info.get("licence") or "").lower().replace("-", " ").split())
        found = [k for k, name in enumerate(_STRICTNESS) if text.startswith(name.replace("-", " "))]
        return max(found, default=len(_STRICTNESS))

    worst = max(infos, key=rank)
    return f"{worst.get('licence') or 'not stated'} (the strictest, of {worst.get('name')})"
