"""Nested random subsets of a training set: each contains every smaller one, every stratum in proportion."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LIVECELL_PERCENTS = (2, 4, 5, 25, 50)  # Edlund et al. 2021, training-set size experiment


def nested(
    image_ids: Sequence[str],
    percents: Sequence[float] = LIVECELL_PERCENTS,
    *,
    strata: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Random subsets of a training set, each containing every smaller one, with every stratum in proportion.

    >>> small = nested([f"i{k}" for k in range(100)], (2, 50))
    >>> len(small["2"]), len(small["50"]), set(small["2"]) <= set(small["50"])
    (2, 50, True)
    """
    rng = np.random.default_rng(seed)
    labels = list(strata) if strata is not None else [""] * len(image_ids)
    rank: dict[str, float] = {}
    for stratum in sorted(set(labels)):
        members = sorted(i for i, s in zip(image_ids, labels, strict=True) if s == stratum)
        shuffled = rng.permutation(len(members)).tolist()
        offset = float(rng.random())
        for place, m in enumerate(shuffled):
            rank[members[m]] = (place + offset) / len(members)
    order = sorted(rank, key=lambda i: (rank[i], i))
    sizes = {f"{p:g}": max(1, round(len(order) * p / 100)) for p in sorted(percents)}
    return {name: sorted(order[:n]) for name, n in sizes.items()}
