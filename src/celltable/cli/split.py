"""``celltable split``: divide a data set without leaks, and certify it."""

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
            help="Column, metadata key, 'density' or 'class' to stratify by; may be repeated. Default: modality.",
        ),
    ] = None,
    kfold: Annotated[
        int | None, typer.Option("--kfold", min=2, help="Make this many folds instead of train, val and test.")
    ] = None,
    official: Annotated[
        str | None, typer.Option("--official", help="Use an official split of the data set: its name, or 'published'.")
    ] = None,
    subset: Annotated[
        list[float] | None,
        typer.Option("--subset", help="Percentage of train to draw as a nested subset; may be repeated."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", help="COLUMN=VALUE: split only these images, the others keep their parts; may be repeated."
        ),
    ] = None,
    similarity: Annotated[
        bool, typer.Option(help="Compare pixels, so that near-duplicates stay in the same part.")
    ] = True,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Also write the certificate to this JSON file.")
    ] = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Divide the images into train, val and test without leaks.

    Leakage groups (patients, wells, slides) and near-duplicate images are never divided; strata are divided in
    proportion. The parts are written to the column split, the certificate to dataset.json.

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

    conditions = {}
    for text in options or []:
        name, sep, value = text.partition("=")
        if not sep or not name:
            raise CelltableError(f"--only {text}: expected COLUMN=VALUE, for example cell_type=A172.")
        conditions[name.strip()] = value.strip()
    return conditions


def _without_part(store: Path) -> int:
    from celltable.store import open_store

    return int(open_store(store).images.column("split").null_count)


def _subsets(store: Path) -> str:
    from celltable.store import open_store

    subsets = [dict(m or ()).get("subset") for m in open_store(store).images.column("metadata").to_pylist()]
    smallest = [float(p) for p in subsets if p is not None]
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
        say(f"\nof these, kept as they were because of --only: {counts}")
    without = _without_part(store)
    if without:
        say(f"\nimages without a part: {without:,}")
    say(f"\nunit kept whole: {card.unit} ({card.unit_source})")
    shared = card.shared_groups
    say(f"groups in more than one part: {len(shared)}" + (f", the first '{shared[0]}'" if shared else ""))
    if card.kept and shared:
        say("  such groups have images outside --only, which keep their part; without --only no group is divided")
    if card.near_duplicates is None:
        say("near-duplicates in different parts: not compared (--no-similarity)")
    else:
        near = card.near_duplicates
        first = f", the first {near[0][0]} and {near[0][1]} ({near[0][2]} of 64 bits apart)" if near else ""
        say(f"near-duplicates in different parts: {len(near)}{first}")
    if card.not_compared:
        say(f"images not compared (could not be read): {len(card.not_compared)}, first '{card.not_compared[0]}'")
    verdict = "clean" if card.clean else "NOT CLEAN"
    where = f"{store}/dataset.json" + (f" and {certificate}" if certificate else "")
    say(f"certificate: {verdict}, assignment SHA-256 {card.digest[:16]}…, in {where}")
