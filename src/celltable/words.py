"""Words for people: near misses, plurals and numbers, spelt the same way in every message, table and report."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name most similar to `name`, or None.

    >>> nearest("pq_panuke", ["ap_coco", "pq_pannuke"])
    'pq_pannuke'
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def hint(name: str, known: Iterable[str], *, what: str = "Available") -> str:
    """How to go on after an unknown name: the near miss, or all there is.

    >>> hint("overwite", ["overwrite", "size"])
    'Did you mean overwrite?'
    >>> hint("x", ["size", "seed"]), hint("x", [])
    ('Available: seed, size.', 'Available: none.')
    """
    names = sorted(known)
    near = nearest(name, names)
    return f"Did you mean {near}?" if near else f"{what}: {', '.join(names) or 'none'}."


def plural(n: int, noun: str, many: str | None = None) -> str:
    """A number with its noun, thousands separated.

    >>> plural(1, "finding"), plural(1200, "finding"), plural(2, "class", "classes")
    ('1 finding', '1,200 findings', '2 classes')
    """
    return f"{n:,} {noun if n == 1 else many or noun + 's'}"
