"""``celltable ingest``: read a published release into a store."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated, Final

import typer

from ._output import How, Json, Overwrite, Scheduler, Workers, count, emit_json, say

MOST_RULES: Final = 6  # rules listed in the summary of findings


def ingest(
    dataset: Annotated[str, typer.Argument(metavar="NAME", help="Name of the data set; see `celltable datasets`.")],
    release: Annotated[
        Path, typer.Argument(metavar="RELEASE", help="The archive as downloaded, or its unpacked folder.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The store to write, usually NAME.celltable.")],
    part: Annotated[list[str] | None, typer.Option("--part", help="Read only this part; may be repeated.")] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the pixels into the store.")] = False,
    overwrite: Overwrite = False,
    workers: Workers = None,
    how: How = "threads",
    scheduler: Scheduler = None,
    json: Json = False,
) -> None:
    """Read a release, as published, into a store: one row per image and one row per cell.

    Nothing is repaired; every problem becomes a finding. Run the same command again to resume an interrupted ingest.

    Example: celltable ingest dsb2018 stage1_train.zip dsb.celltable

    On other processes or machines: celltable ingest dsb2018 stage1_train.zip dsb.celltable --scheduler tcp://host:8786
    """
    from celltable.pipelines.ingest import ingest as run

    store = run(
        dataset,
        release,
        out,
        parts=part or (),
        copy=copy,
        overwrite=overwrite,
        workers=workers,
        how=how,
        scheduler=scheduler,
        progress=True,
    )
    findings = len(store.findings)
    cells = store._instances.metadata.num_rows
    if json:
        emit_json({"store": str(out), "images": len(store), "instances": cells, "findings": findings})
        return
    images, noted = count(len(store), "image"), count(findings, "finding")
    say(f"{out}: {images} and {count(cells, 'cell')} of {store.description.title}, with {noted}.")
    rules = Counter(store.findings["rule"].to_pylist()).most_common()
    if rules:
        more = f", and {count(len(rules) - MOST_RULES, 'kind')} more" if len(rules) > MOST_RULES else ""
        say("Findings: " + ", ".join(f"{rule} {n:,}" for rule, n in rules[:MOST_RULES]) + more + ".")
    say(f"Licence: {store.description.licence}. Next: celltable show {shlex.quote(str(out))}")
