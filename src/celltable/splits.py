"""Splits that cannot leak: groups stay whole, strata stay balanced, subsets are nested, and a certificate says so.

All functions take the images table of a store and return image_id → part; none of them touches the disk.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .errors import CelltableError, NotFoundError
from .geometry.fingerprint import NEAR_BITS, near_pairs
from .subsets import LIVECELL_PERCENTS as LIVECELL_PERCENTS
from .subsets import nested as nested
from .words import hint

Assignment = dict[str, str]
DENSITY_BINS = 4  # quartiles of cells per image


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a split kept apart, in numbers that can be verified.

    `groups` counts leakage groups per part, `shared_groups` lists those present in two parts (none in a split of all
    images made here), `strata` counts images per stratum and part. `near_duplicates` lists pairs of near-duplicate
    images in different parts (None where pixels were not compared), `not_compared` the images whose pixels could not be
    read, `kept` counts the images per part that this split left unchanged. `digest` is the SHA-256 of the sorted
    assignment, one line ``image_id<tab>part<newline>`` per image.
    """

    unit: str
    unit_source: str
    seed: int | None
    images: dict[str, int]
    cells: dict[str, int]
    groups: dict[str, int]
    shared_groups: list[str]
    strata: dict[str, dict[str, int]]
    similarity_bits: int | None
    near_duplicates: list[tuple[str, str, int]] | None
    digest: str
    not_compared: list[str] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether no group and no pair of near-duplicate images straddles two parts."""
        return not self.shared_groups and not self.near_duplicates

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"clean": self.clean, **asdict(self)}


def units_of(images: pa.Table, near: Sequence[tuple[int, int]] = ()) -> list[str]:
    """Find the unit of each image that must stay whole: its leakage group, or the image itself where none is known.

    `near` holds pairs of row numbers of near-duplicate images, whose units are joined.
    """
    groups = images.column("leakage_group").to_pylist()
    ids = images.column("image_id").to_pylist()
    names = [g if g is not None else f"image {i}" for g, i in zip(groups, ids, strict=True)]
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for i, j in near:
        a, b = sorted((root(names[i]), root(names[j])))
        parent[b] = a
    return [root(name) for name in names]


def strata_of(images: pa.Table, by: Sequence[str]) -> list[str]:
    """Find the stratum of each image: the joined values of the columns `by`; ``density`` means quartiles of its cells.

    Raises
    ------
    NotFoundError
        If a column is neither in the table nor in the metadata of any image.
    """
    parts = [values_of(images, name) for name in by]
    return [" · ".join(row) for row in zip(*parts, strict=True)] if parts else [""] * images.num_rows


def nothing(name: str) -> str:
    """Name the missing value of a column.

    >>> nothing("cell_type")
    '(no cell type)'
    """
    return f"(no {name.replace('_', ' ')})"


def values_of(images: pa.Table, name: str) -> list[str]:
    """Return the value of each image in a column, a metadata key or ``density``, as text; "(no tissue)" where missing.

    Raises
    ------
    NotFoundError
        If no image has such a column or key.
    """
    none = nothing(name)
    if name == "density":
        counts = images.column("n_instances").to_numpy()
        edges = np.quantile(counts, np.linspace(0, 1, DENSITY_BINS + 1)[1:-1]) if len(counts) else []
        return [f"density {q + 1}/{DENSITY_BINS}" for q in np.searchsorted(edges, counts, "right").tolist()]
    columns = [c for c in images.column_names if c not in ("pixels", "metadata")]
    if name in columns:
        column = images.column(name).to_pylist()
        return [none if v is None else "+".join(sorted(v)) if isinstance(v, list) else str(v) for v in column]
    metadata = [dict(m or ()) for m in images.column("metadata").to_pylist()]
    if not any(name in m for m in metadata):
        known = [*columns, "density", *sorted({k for m in metadata for k in m})]
        raise NotFoundError(f"No column of the images is called '{name}'. {hint(name, known)}")
    return [m.get(name, none) for m in metadata]


def grouped(
    images: pa.Table,
    fractions: Mapping[str, float],
    *,
    seed: int = 0,
    stratify: Sequence[str] = (),
    near: Sequence[tuple[int, int]] = (),
) -> Assignment:
    """Divide images into parts that cut no unit and divide every stratum in proportion.

    Units are taken from the largest to the smallest, equal ones in seeded order, and each goes to the part that most
    lacks its strata (Sechidis et al., ECML 2011, applied to groups).

    Parameters
    ----------
    images
        The images table.
    fractions
        Part → share, summing to 1, for example ``{"train": 0.8, "test": 0.2}``.
    seed
        Orders units of equal size.
    stratify
        Columns, metadata keys or ``density``.
    near
        Row-number pairs of near-duplicate images to keep together.
    """
    if not fractions or min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        found = ", ".join(f"{k} {v:g}" for k, v in fractions.items())
        raise CelltableError(f"the shares of a split must be positive and sum to 1; found {found or 'none'}.")
    units = units_of(images, near)
    weights, names = _unit_strata(units, strata_of(images, stratify))
    rng = np.random.default_rng(seed)
    order = sorted(
        zip((-weights.sum(axis=1)).tolist(), rng.permutation(len(names)).tolist(), range(len(names)), strict=True)
    )
    shares = np.array(list(fractions.values()))
    goal = shares[:, None] * weights.sum(axis=0)[None, :]
    have = np.zeros_like(goal)
    part_of: dict[str, int] = {}
    scale = 1 / np.maximum(weights.sum(axis=0), 1)
    for _, _, unit in order:
        part = _neediest(have, goal, weights[unit], scale, shares)
        have[part] += weights[unit]
        part_of[names[unit]] = part
    parts = list(fractions)
    ids = images.column("image_id").to_pylist()
    return {i: parts[part_of[u]] for i, u in zip(ids, units, strict=True)}


def _unit_strata(units: list[str], strata: list[str]) -> tuple[NDArray[np.float64], list[str]]:
    names, columns = sorted(set(units)), sorted(set(strata))
    at, col = {u: i for i, u in enumerate(names)}, {s: i for i, s in enumerate(columns)}
    weights = np.zeros((len(names), len(columns)))
    for unit, stratum in zip(units, strata, strict=True):
        weights[at[unit], col[stratum]] += 1
    return weights, names


def _neediest(
    have: NDArray[np.float64],
    goal: NDArray[np.float64],
    unit: NDArray[np.float64],
    scale: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> int:
    """The part whose worst overshoot grows least, relative to its share, if it takes the unit."""
    lack = ((goal - have) * scale * unit).sum(axis=1) / np.maximum(shares, 1e-12) / max(unit.sum(), 1)
    total = (goal.sum(axis=1) - have.sum(axis=1)) / np.maximum(goal.sum(axis=1), 1e-12)
    lack[shares <= 0] = -np.inf
    return int(np.lexsort((-total, -np.round(lack, 12)))[0])


def folds(
    images: pa.Table, k: int, *, seed: int = 0, stratify: Sequence[str] = (), near: Sequence[tuple[int, int]] = ()
) -> Assignment:
    """k parts ``fold1`` … of equal size, by the same rules as `grouped`."""
    if k < 2:
        raise CelltableError(f"k-fold needs at least 2 folds; found {k}.")
    return grouped(images, {f"fold{i + 1}": 1 / k for i in range(k)}, seed=seed, stratify=stratify, near=near)


def certify(
    images: pa.Table,
    assignment: Mapping[str, str],
    *,
    hashes: Mapping[str, int] | None = None,
    stratify: Sequence[str] = (),
    seed: int | None = None,
    max_bits: int = NEAR_BITS,
    kept: Sequence[str] = (),
) -> Certificate:
    """Count what a split kept apart: groups, strata and (given perceptual `hashes`) near-duplicate images.

    `kept` lists the images that already had a part and were not divided again.
    """
    ids = images.column("image_id").to_pylist()
    parts = [assignment[i] for i in ids]
    units, strata = units_of(images), strata_of(images, stratify)
    names = sorted(set(parts))
    seen: dict[str, set[str]] = {}
    for unit, part in zip(units, parts, strict=True):
        seen.setdefault(unit, set()).add(part)
    cells = images.column("n_instances").to_pylist()
    sources = {s for s in images.column("group_source").to_pylist() if s}
    known = images.column("leakage_group").null_count < images.num_rows
    text = "".join(f"{i}\t{p}\n" for i, p in sorted(zip(ids, parts, strict=True)))
    return Certificate(
        unit="leakage_group" if known else "image",
        unit_source="+".join(sorted(sources)) or ("published" if known else "none known"),
        seed=seed,
        images={n: parts.count(n) for n in names},
        cells={n: sum(c for c, p in zip(cells, parts, strict=True) if p == n) for n in names},
        groups={n: len({u for u, p in zip(units, parts, strict=True) if p == n}) for n in names},
        shared_groups=sorted(u for u, where in seen.items() if len(where) > 1),
        strata={
            s: {n: sum(x == s and p == n for x, p in zip(strata, parts, strict=True)) for n in names}
            for s in sorted(set(strata))
            if s
        },
        similarity_bits=max_bits if hashes is not None else None,
        near_duplicates=None if hashes is None else _straddling(ids, parts, hashes, max_bits),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        not_compared=[] if hashes is None else sorted(i for i in ids if i not in hashes),
        kept=dict(sorted(Counter(assignment[i] for i in kept).items())),
    )


def _straddling(
    ids: list[str], parts: list[str], hashes: Mapping[str, int], max_bits: int
) -> list[tuple[str, str, int]]:
    values = [hashes.get(i, 0) for i in ids]
    return [(ids[i], ids[j], bits) for i, j, bits in near_pairs(values, max_bits) if parts[i] != parts[j]]
