"""Describe a store derived from others: what it inherits, and where its pixel sources are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from celltable.errors import StoreError

from ._opened import Opened
from .description import Description, Source

_DATA: Final = (
    "name", "title", "licence", "licences", "non_commercial", "citation", "doi", "source", "modality", "target",
    "classes", "channels", "protocols", "leakage_group",
)  # fmt: skip
_PAST: Final = ("reader", "model", "of", "tiles", "history", "extra")


def derive(store: Opened, out: str | Path, *, done: str = "", own: str | None = None, **changes: Any) -> Description:
    """Describe a store at `out` that is derived from another.

    Parameters
    ----------
    store, out
        The parent store, and the path of the new one.
    done
        A line for its history.
    own
        Key of an additional source: the folder of `store`, if it contains copies of pixels.
    **changes
        Fields that differ; if `kind` differs from that of `store`, a new history begins.
    """
    old = store.description
    names = _DATA if changes.get("kind", old.kind) != old.kind else (*_DATA, "kind", *_PAST)
    inherited: dict[str, Any] = {name: getattr(old, name) for name in names}
    sources = sources_beside(store, out)
    if own is not None and store.has_pixels:
        sources[own] = Source.at(store.path, out)
    history = (*inherited.get("history", ()), *([done] if done else []))
    if "history" in inherited:  # inherited findings and edits refer to generations: keep counting
        inherited["generation"] = old.generation
    return Description(**{**inherited, "sources": sources, "history": history}).replaced(**changes)


def sources_beside(store: Opened, out: str | Path) -> dict[str, Source]:
    """Return the sources of a store for a store at `out`, with their current locations if known."""
    made = {}
    for key, source in store.description.sources.items():
        try:
            path = store.source_path(key).resolve()
        except StoreError:  # the release is not available now, but may return to its old place
            path = Path(source.path)
        made[key] = source.moved(path, out)
    return made


def combine(
    stores: Mapping[str, Opened], keys: Mapping[str, Mapping[str, str]], out: str | Path, **changes: Any
) -> Description:
    """Describe a store at `out` merged from several.

    Parameters
    ----------
    stores
        Label → store, all of the same kind.
    keys
        Label → source key in that store → key in the merged store; "" is the folder of the store itself.
    out
        Where the merged store will be.
    **changes
        Fields such as name, classes, history.
    """
    each = {label: s.description for label, s in stores.items()}
    sources: dict[str, Source] = {}
    for label, store in stores.items():
        sources.update({keys[label][k]: v for k, v in sources_beside(store, out).items()})
        if store.has_pixels:
            sources[keys[label][""]] = Source.at(store.path, out)
    return Description(
        title="Merged: " + ", ".join(stores),
        kind=next(iter(each.values())).kind,
        licence=strictest({label: d.licence for label, d in each.items()}),
        licences={label: d.licence for label, d in each.items()},
        non_commercial=any(d.non_commercial for d in each.values()),
        citation=" | ".join(dict.fromkeys(d.citation for d in each.values() if d.citation)),
        modality=tuple(sorted({m for d in each.values() for m in d.modality})),
        target=tuple(sorted({t for d in each.values() for t in d.target})),
        sources=sources,
        generation=max(each.values(), key=lambda d: d.number).generation,
    ).replaced(**changes)


# From the freest to the strictest; without a stated licence, only what the law permits is allowed.
_STRICTNESS: Final = ("cc0", "mit", "bsd", "apache", "cc by", "cc by-sa", "cc by-nc", "cc by-nc-sa", "cc by-nc-nd")


def strictest(licences: Mapping[str, str | None]) -> str:
    """Return the strictest of the licences, with the name of its data set.

    >>> strictest({"a": "CC BY 4.0", "b": "CC BY-NC 4.0"})
    'CC BY-NC 4.0 (the strictest, of b)'
    """

    def rank(label: str) -> int:
        text = " ".join((licences[label] or "").lower().replace("-", " ").split())
        known = [k for k, name in enumerate(_STRICTNESS) if text.startswith(name.replace("-", " "))]
        return max(known, default=len(_STRICTNESS))

    worst = max(licences, key=rank)
    return f"{licences[worst] or 'not stated'} (the strictest, of {worst})"
