"""``celltable split``: parts that do not leak, and the certificate that says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._output import Json, Seed, StoreArgument, Workers, emit_json, say, table

if TYPE_CHECKING:
    from celltable.splits import Certificate

IN_ORDER = ("train", "val", "test")


def split(
    store: StoreArgument,
    test: Annotated[float, typer.Option("--test", min=0, max=1, help="Share of the images for testing.")] = 0.2,
    val: Annotated[float, typer.Option("--val", min=0, max=1, help="Share of the images for validation.")] = 0.0,
    seed: Seed = 0,
    stratify: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            help="Column, metadata key, 'density' or 'class' to divide in proportion; repeat. Default: modality.",
        ),
    ] = None,
    kfold: Annotated[int | None, typer.Option("--kfold", min=2, help="Make this many folds instead.")] = None,
    official: Annotated[
        str | None, typer.Option("--official", help="'published', or the name of an official split of the data set.")
    ] = None,
    subset: Annotated[
        list[float] | None, typer.Option("--subset", help="Per cent of train to draw as a nested subset; repeat.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="COLUMN=VALUE: split only these images; others keep their parts; repeat."),
    ] = None,
    similarity: Annotated[bool, typer.Option(help="Compare pixels, so that look-alikes stay on one side.")] = True,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Write the certificate here as JSON, too.")
    ] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Divide the images into train, val and test without leaks.

    Leakage groups (patients, wells, slides) and look-alike images are never cut, strata are divided in proportion. The
    parts are written to the column split; the certificate stands in dataset.json.

    Example: celltable split dsb.celltable --test 0.2 --seed 0
    """
    from celltable.pipelines.split import split as run
    from celltable.pipelines.split import write_certificate

    card = run(
        store, test=test, val=val, seed=seed, stratify=stratify or ("modality",), kfold=kfold, official=official,
        subsets=subset or (), only=_only(only), similarity=similarity, workers=workers,
        progress=not json,
    )  # fmt: skip
    if certificate is not None:
        write_certificate(card, certificate, store)
    if json:
        emit_json(card.to_dict())
        return
    _print(card, store, certificate)
    if subset:
        say(_subsets(store))


def _only(options: list[str] | None) -> dict[str, str]:
    from celltable.errors import CelltableError

    found = {}
    for text in options or []:
        name, sep, value = text.partition("=")
        if not sep or not name:
            raise CelltableError(f"--only {text}: expected COLUMN=VALUE, for example cell_type=A172.")
        found[name.strip()] = value.strip()
    return found


def _without_part(store: Path) -> int:
    from celltable.store import open_store

    return int(open_store(store).images.column("split").null_count)


def _subsets(store: Path) -> str:
    from celltable.store import open_store

    found = [dict(m or ()).get("subset") for m in open_store(store).images.column("metadata").to_pylist()]
    smallest = [float(p) for p in found if p is not None]
    rows = [[f"{p:g} % of train", sum(q <= p for q in smallest)] for p in sorted(set(smallest))]
    text = table(rows, ("subset", "images"))
    return f"\n{text}\nselect one with: --where \"cast(metadata['subset'] as double) <= {max(smallest):g}\""


def _print(card: Certificate, store: Path, certificate: Path | None) -> None:
    names = sorted(card.images, key=lambda part: (IN_ORDER.index(part) if part in IN_ORDER else len(IN_ORDER), part))
    total = sum(card.images.values())
    rows = [[p, card.images[p], f"{card.images[p] / total:.0%}", card.cells[p], card.groups[p]] for p in names]
    say(table(rows, ("part", "images", "share", "cells", "groups")))
    if card.strata:
        say("\n" + table([[s, *(n[p] for p in names)] for s, n in card.strata.items()], ("stratum", *names)))
    if card.kept:
        counts = ", ".join(f"{part} {n:,}" for part, n in card.kept.items())
        say(f"\nof these left as they were, by --only: {counts}")
    without = _without_part(store)
    if without:
        say(f"\nimages without a part: {without:,}")
    say(f"\nunit kept whole: {card.unit} ({card.unit_source})")
    shared = card.shared_groups
    say(f"groups in two parts: {len(shared)}" + (f", the first '{shared[0]}'" if shared else ""))
    if card.kept and shared:
        say("  such groups have images outside of --only, whose part stays; without --only no group is cut")
    if card.near_duplicates is None:
        say("look-alike images in two parts: not compared (--no-similarity)")
    else:
        near = card.near_duplicates
        first = f", the first {near[0][0]} and {near[0][1]} ({near[0][2]} of 64 bits apart)" if near else ""
        say(f"look-alike images in two parts: {len(near)}{first}")
    if card.not_compared:
        say(f"images that could not be read, so not compared: {len(card.not_compared)}, first '{card.not_compared[0]}'")
    verdict = "clean" if card.clean else "NOT CLEAN"
    where = f"{store}/dataset.json" + (f" and {certificate}" if certificate else "")
    say(f"certificate: {verdict}, assignment SHA-256 {card.digest[:16]}…, in {where}")
