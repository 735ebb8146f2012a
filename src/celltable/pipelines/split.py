"""Divide a store into parts that do not leak, write the part of each image, and a certificate that proves it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from celltable import parallel, registry, splits
from celltable.errors import CelltableError, NotFoundError
from celltable.geometry.fingerprint import near_pairs, perceptual_hash
from celltable.splits import Certificate
from celltable.store import Store, open_store

PUBLISHED = "published_split"  # metadata key under which the first split keeps what the release said


def split(
    store: Store | str | Path,
    *,
    test: float = 0.2,
    val: float = 0.0,
    seed: int = 0,
    stratify: Sequence[str] = ("modality",),
    kfold: int | None = None,
    official: str | None = None,
    subsets: Sequence[float] = (),
    only: Mapping[str, str] | None = None,
    similarity: bool = True,
    workers: int | None = None,
    progress: bool = False,
) -> Certificate:
    """Write the column ``split`` of a store and ``split.json`` beside it; return the certificate.

    Parameters
    ----------
    store
        A store or its path.
    test, val
        Shares of the images; the rest is ``train``. Leakage groups and look-alike images are never cut.
    seed
        Seed of every random choice.
    stratify
        Columns, metadata keys or ``density`` whose values are divided in proportion.
    kfold
        Make that many folds instead of train, val and test.
    official
        Use the published split (``published``), or another official one of the data set by name.
    subsets
        Percentages of the training part to draw as nested random subsets; kept in the metadata key ``subset``, the
        smallest one that an image belongs to.
    only
        Column → value: split only these images (one cell type, say); the others get no part.
    similarity
        Compare the pixels of all images, so that look-alikes stay on one side and the certificate says so.
    workers, progress
        Threads (None: every core), and whether to draw a bar.
    """
    ds = store if isinstance(store, Store) else open_store(store)
    images = _selected(ds.images.arrow, only)
    hashes, unread = _hashes(ds, images, workers, progress) if similarity else (None, [])
    by = [c for c in stratify if c != "modality" or images.column("modality").null_count < images.num_rows]
    if official is not None:
        assignment = _official(ds, images, official)
    else:
        ids = images.column("image_id").to_pylist()
        near = [(i, j) for i, j, _ in near_pairs([hashes[i] for i in ids])] if hashes else []
        if kfold is not None:
            assignment = splits.folds(images, kfold, seed=seed, stratify=by, near=near)
        else:
            shares = {"train": 1 - test - val, **({"val": val} if val else {}), "test": test}
            assignment = splits.grouped(images, shares, seed=seed, stratify=by, near=near)
    card = splits.certify(images, assignment, hashes=hashes, stratify=by, seed=None if official else seed)
    chosen = _subsets(images, assignment, subsets, by, seed)
    _write(ds, assignment, chosen, card, _words(test, val, seed, kfold, official))
    return card


def _selected(images: pa.Table, only: Mapping[str, str] | None) -> pa.Table:
    import pyarrow.compute as pc

    kept = images
    for name, value in (only or {}).items():
        if name not in images.column_names:
            raise NotFoundError(
                f"No column of the images is called '{name}'. There are: {', '.join(images.column_names)}."
            )
        kept = kept.filter(pc.equal(kept.column(name), value))
    if kept.num_rows == 0:
        wanted = ", ".join(f"{k}={v}" for k, v in (only or {}).items())
        raise NotFoundError(f"no image to split{f' has {wanted}' if wanted else ''}; expected at least one.")
    return kept


def _official(ds: Store, images: pa.Table, name: str) -> dict[str, str]:
    rows = zip(*(images.column(c).to_pylist() for c in ("image_id", "split", "metadata")), strict=True)
    published = {i: dict(meta or ()).get(PUBLISHED, part) for i, part, meta in rows}
    if name != "published":
        known = _named_splits(ds)
        if name not in known:
            raise NotFoundError(
                f"{ds.name} has no official split '{name}'. There are: {', '.join(['published', *known])}."
            )
        published = {i: known[name].get(part or "") for i, part in published.items()}
    missing = [i for i, part in published.items() if part is None]
    if missing:
        raise CelltableError(
            f"{len(missing):,} of {len(published):,} images of {ds.name} have no published part, "
            f"the first '{missing[0]}'. Split them with --test and --seed instead."
        )
    return {i: str(part) for i, part in published.items()}


def _named_splits(ds: Store) -> Mapping[str, Mapping[str, str]]:
    reader = ds.info.get("reader", {}).get("name")
    found: Mapping[str, Mapping[str, str]] = registry.load("datasets", reader).splits if reader else {}
    return found


def _subsets(
    images: pa.Table, assignment: Mapping[str, str], percents: Sequence[float], by: Sequence[str], seed: int
) -> dict[str, str]:
    if not percents:
        return {}
    ids = images.column("image_id").to_pylist()
    strata = splits.strata_of(images, by)
    train = [(i, s) for i, s in zip(ids, strata, strict=True) if assignment[i] == "train"]
    made = splits.nested([i for i, _ in train], percents, strata=[s for _, s in train], seed=seed)
    smallest: dict[str, str] = {}
    for name in sorted(made, key=float, reverse=True):
        smallest.update(dict.fromkeys(made[name], name))
    return smallest


def _write(ds: Store, assignment: Mapping[str, str], subsets: Mapping[str, str], card: Certificate, done: str) -> None:
    images = ds.images.arrow
    rows = list(zip(*(images.column(c).to_pylist() for c in ("image_id", "split", "metadata")), strict=True))
    metadata = []
    for image_id, old, pairs in rows:
        values = dict(pairs or ())
        if old is not None:
            values.setdefault(PUBLISHED, old)
        values.pop("subset", None)
        if image_id in subsets:
            values["subset"] = subsets[image_id]
        metadata.append(sorted(values.items()))
    columns = {"split": [assignment.get(i) for i, _, _ in rows], "metadata": metadata}
    for name, values_ in columns.items():
        at = images.schema.get_field_index(name)
        images = images.set_column(at, images.schema.field(at), pa.array(values_, images.schema.field(at).type))
    ds.update({"images": images}, {"split": card.to_dict()}, done=done)


def _words(test: float, val: float, seed: int, kfold: int | None, official: str | None) -> str:
    if official is not None:
        return f"split: official {official}"
    return f"split: {f'{kfold} folds' if kfold else f'test {test:g}, val {val:g}'}, seed {seed}"


def write_certificate(card: Certificate, path: Path) -> None:
    """Write the certificate as a JSON file of its own."""
    path.write_text(json.dumps(card.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
