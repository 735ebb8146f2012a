"""Divide a store into parts without leaks, and write the part of each image and a certificate that proves it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from celltable import plugins, splits
from celltable.disk import plain_os_errors
from celltable.errors import CelltableError, NotFoundError
from celltable.geometry.fingerprint import near_pairs
from celltable.splits import Certificate
from celltable.store import Store, newest, with_columns

from ._fingerprints import fingerprints

PUBLISHED = "published_split"  # metadata key under which the first split keeps the part stated by the release
CLASS: Final = "class"  # the cells' class, for stratifying


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
    """Write the column ``split`` of a store and the certificate into its dataset.json; return the certificate.

    The split stated by the release is kept in the metadata key ``published_split``.

    Parameters
    ----------
    store
        A store or its path.
    test, val
        Shares of the images; the rest is ``train``. Leakage groups and near-duplicate images are never divided.
    seed
        Seed of every random choice.
    stratify
        Columns, metadata keys, ``density`` or ``class`` (the most frequent one in an image; ties go to the first by
        name) whose values are divided in proportion.
    kfold
        Make this many folds instead of train, val and test.
    official
        Use the published split (``published``), or another official split of the data set by name. Unlabelled images
        without a published part get none.
    subsets
        Percentages of the training part to draw as nested random subsets. The metadata key ``subset`` holds the
        smallest subset that an image belongs to, so that ``cast(metadata['subset'] as double) <= 25`` selects 25 %.
    only
        Column or metadata key → value (``none``: no value): split only these images (one cell type, say). The others
        keep their parts and subsets, and the certificate also counts them, so that it shows groups they share with
        these images.
    similarity
        Compare the pixels of all images, so that near-duplicates stay in the same part and the certificate says so.
    workers, progress
        Number of threads (None: one per core); draw a progress bar.

    Raises
    ------
    CelltableError, NotFoundError
        If the shares do not add up, a part would be empty, or the column or official split does not exist. The store is
        left unchanged.
    """
    ds = newest(store)
    everything = ds.images.arrow
    if CLASS in (*stratify, *(only or ())):
        everything = _with_main_class(ds, everything)
    images = _selected(everything, only)
    kept = _parts_outside(everything, images)
    _check_percents(subsets)
    hashes = _hashes(ds, _among(everything, {*_ids(images), *kept}), workers, progress) if similarity else None
    by = [c for c in stratify if c != "modality" or images.column("modality").null_count < images.num_rows]
    if official is not None:
        assignment = _official(ds, images, official)
        images = _among(images, assignment)
    else:
        shares = {f"fold{k + 1}": 1 / kfold for k in range(kfold)} if kfold else _shares(test, val)
        assignment = splits.grouped(images, shares, seed=seed, stratify=by, near=_near(images, hashes))
        _refuse_empty(images, assignment, shares, _near(images, hashes))
    chosen = _subsets(images, assignment, subsets, by, seed)
    card = splits.certify(
        _among(everything, {**kept, **assignment}),
        {**kept, **assignment},
        hashes=hashes,
        stratify=by,
        seed=None if official else seed,
        kept=sorted(kept),
    )
    _write(ds, card, {**kept, **assignment}, chosen, set(kept), _words(test, val, seed, kfold, official, only))
    return card


def _with_main_class(ds: Store, images: pa.Table) -> pa.Table:
    """Add a column with the most frequent class of each image's cells."""
    cells = ds.columns("image_id", "class_name").arrow.group_by(["image_id", "class_name"])
    counted = cells.aggregate([([], "count_all")]).to_pylist()
    main: dict[str, str] = {}
    for row in sorted(counted, key=lambda r: (-r["count_all"], r["class_name"] or "")):
        main.setdefault(row["image_id"], row["class_name"] or "(no class)")
    of_images = [main.get(i, "(no cell)") for i in _ids(images)]
    return images.append_column(CLASS, pa.array(of_images, pa.string()))


def _ids(images: pa.Table) -> list[str]:
    ids: list[str] = images.column("image_id").to_pylist()
    return ids


def _among(images: pa.Table, ids: Container[str]) -> pa.Table:
    return images.filter(pa.array([i in ids for i in _ids(images)], pa.bool_()))


def _parts_outside(images: pa.Table, selected: pa.Table) -> dict[str, str]:
    """Map the images that are not split now to their parts."""
    inside = set(_ids(selected))
    rows = zip(_ids(images), images.column("split").to_pylist(), strict=True)
    return {i: part for i, part in rows if part is not None and i not in inside}


def _shares(test: float, val: float) -> dict[str, float]:
    return {"train": 1 - test - val, **({"val": val} if val else {}), "test": test}


def _near(images: pa.Table, hashes: Mapping[str, int] | None) -> list[tuple[int, int]]:
    ids = images.column("image_id").to_pylist()
    return [] if hashes is None else [(i, j) for i, j, _ in near_pairs([hashes.get(i, 0) for i in ids])]


def _check_percents(percents: Sequence[float]) -> None:
    wrong = [p for p in percents if not 0 < p <= 100]
    if wrong:
        raise CelltableError(f"a subset of {wrong[0]:g} % was requested; expected more than 0 and at most 100.")


def _refuse_empty(
    images: pa.Table, assignment: Mapping[str, str], shares: Mapping[str, float], near: Sequence[tuple[int, int]]
) -> None:
    empty = [part for part, share in shares.items() if share > 1e-9 and part not in set(assignment.values())]
    if empty:
        units = len(set(splits.units_of(images, near)))
        whole = "one unit that must stay whole" if units == 1 else f"{units:,} units that must stay whole"
        advice = "Ask for fewer parts or larger shares."
        if units == 1:
            advice = "They cannot be split without a leak: test on another data set, or merge one into this."
        elif units < len(shares):
            advice = f"Ask for at most {units} parts."
        names = ", ".join(empty[:3]) + (f" and {len(empty) - 3:,} more" if len(empty) > 3 else "")
        raise CelltableError(
            f"{names} would have no images: {images.num_rows:,} images form {whole} (leakage groups and "
            f"near-duplicates) for {len(shares)} parts. {advice}"
        )


def _selected(images: pa.Table, only: Mapping[str, str] | None) -> pa.Table:
    kept = images
    for name, value in (only or {}).items():
        had = splits.values_of(kept, name)
        wanted = splits.nothing(name) if value.lower() == "none" and "None" not in had else value
        kept = kept.filter(pa.array([v.lower() == wanted.lower() for v in had], pa.bool_()))
        if kept.num_rows == 0:
            most = [v for v, _ in Counter(had).most_common(8)]
            rest = f" and {len(set(had)) - 8:,} more" if len(set(had)) > 8 else ""
            raise NotFoundError(f"no image to split has {name}={value}. There are: {', '.join(most)}{rest}.")
    if kept.num_rows == 0:
        raise NotFoundError("no image to split; expected at least one.")
    return kept


def _hashes(ds: Store, images: pa.Table, workers: int | None, progress: bool) -> dict[str, int]:
    """Map images to perceptual hashes, without images that cannot be read."""
    ids = images.column("image_id").to_pylist()
    values, trouble = fingerprints([(ds, i) for i in ids], ids, workers, progress)
    unread = {f.image_id for f in trouble}
    return {i: value for i, value in zip(ids, values, strict=True) if i not in unread}


def _official(ds: Store, images: pa.Table, name: str) -> dict[str, str]:
    rows = zip(*(images.column(c).to_pylist() for c in ("image_id", "split", "metadata")), strict=True)
    made_here = _was_split(ds)
    published = {i: dict(meta or ()).get(PUBLISHED, None if made_here else part) for i, part, meta in rows}
    if name != "published":
        known = _named_splits(ds)
        if name not in known:
            raise NotFoundError(
                f"{ds.name} has no official split '{name}'. There are: {', '.join(['published', *known])}."
            )
        published = {i: known[name].get(part or "") for i, part in published.items()}
    labelled = zip(*(images.column(c).to_pylist() for c in ("image_id", "annotated")), strict=True)
    unlabelled = {i for i, annotated in labelled if not annotated}
    missing = [i for i, part in published.items() if part is None and i not in unlabelled]
    if missing or not any(published.values()):
        raise CelltableError(
            f"{len(missing or published):,} of {len(published):,} images of {ds.name} have no published part, "
            f"the first '{(missing or list(published))[0]}'. Split them with --test and --seed instead."
        )
    return {i: part for i, part in published.items() if part is not None}


def _named_splits(ds: Store) -> Mapping[str, Mapping[str, str]]:
    reader = ds.description.reader.get("name")
    found: Mapping[str, Mapping[str, str]] = plugins.load("datasets", reader).splits if reader else {}
    return found


def _subsets(
    images: pa.Table, assignment: Mapping[str, str], percents: Sequence[float], by: Sequence[str], seed: int
) -> dict[str, str]:
    if not percents:
        return {}
    ids = images.column("image_id").to_pylist()
    strata = splits.strata_of(images, by)
    train = [(i, s) for i, s in zip(ids, strata, strict=True) if assignment[i] == "train"]
    if not train:
        raise CelltableError("train has no images to draw subsets from; leave out --subset.")
    made = splits.nested([i for i, _ in train], percents, strata=[s for _, s in train], seed=seed)
    smallest: dict[str, str] = {}
    for name in sorted(made, key=float, reverse=True):
        smallest.update(dict.fromkeys(made[name], name))
    return smallest


def _write(
    ds: Store, card: Certificate, parts: Mapping[str, str], subsets: Mapping[str, str], kept: Container[str], done: str
) -> None:
    images = ds.images.arrow
    rows = list(zip(*(images.column(c).to_pylist() for c in ("image_id", "split", "metadata")), strict=True))
    as_published = not _was_split(ds)
    metadata = []
    for image_id, old, pairs in rows:
        values = dict(pairs or ())
        if old is not None and as_published:
            values.setdefault(PUBLISHED, old)
        if image_id not in kept:
            values.pop("subset", None)
        if image_id in subsets:
            values["subset"] = subsets[image_id]
        metadata.append(sorted(values.items()))
    images = with_columns(images, {"split": [parts.get(i) for i, _, _ in rows], "metadata": metadata})
    ds.update({"images": images}, {"split": card.to_dict()}, done=done)


def _was_split(ds: Store) -> bool:
    """Whether the column split was made by celltable (here or in a parent store) and not by the publisher."""
    return bool(ds.description.split) or any("split: " in line for line in ds.description.history)


def _words(
    test: float, val: float, seed: int, kfold: int | None, official: str | None, only: Mapping[str, str] | None
) -> str:
    where = "".join(f", only {name}={value}" for name, value in (only or {}).items())
    if official is not None:
        return f"split: official {official}{where}"
    return f"split: {f'{kfold} folds' if kfold else f'test {test:g}, val {val:g}'}, seed {seed}{where}"


def write_certificate(card: Certificate, path: Path, store: Store | str | Path) -> None:
    """Write the certificate and the part of each image to a JSON file, so that anyone can verify the counts."""
    images = newest(store).images
    parts = zip(images["image_id"].to_pylist(), images["split"].to_pylist(), strict=True)
    content = {**card.to_dict(), "assignment": {i: part for i, part in parts if part is not None}}
    partial = path.with_name(f".{path.name}.partial")
    with plain_os_errors(path):
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(partial, path)
