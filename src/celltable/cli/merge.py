"""``celltable merge``: combine several data sets into one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ._output import Json, Overwrite, Workers, count, emit_json, say


def merge(
    stores: Annotated[list[Path], typer.Argument(metavar="STORE...", help="Two or more celltable folders.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="The store to write.")],
    classes: Annotated[
        Path | None, typer.Option("--classes", help="TOML or JSON file that maps old classes to new ones.")
    ] = None,
    unmapped: Annotated[
        str, typer.Option("--unmapped", help="Classes not in the file: keep, drop or refuse.")
    ] = "keep",
    name: Annotated[str, typer.Option("--name", help="Name of the merged data set.")] = "merged",
    similarity: Annotated[bool, typer.Option(help="Compare the pixels of all images to find near-duplicates.")] = True,
    overwrite: Overwrite = False,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Combine several data sets into one, and find images that occur in more than one of them.

    Example: celltable merge dsb.celltable tnbc.celltable -o nuclei.celltable --classes classes.toml
    """
    from celltable.errors import CelltableError
    from celltable.pipelines.merge import NEAR
    from celltable.pipelines.merge import merge as run

    if unmapped not in ("keep", "drop", "refuse"):
        raise CelltableError(f"--unmapped is '{unmapped}'; expected keep, drop or refuse.")
    store = run(
        list(stores), out, classes=classes, unmapped=unmapped, name=name, similarity=similarity,  # type: ignore[arg-type]
        overwrite=overwrite, workers=workers, progress=not json,
    )  # fmt: skip
    cells = store.columns("area").num_rows
    near = sum(rule == NEAR for rule in store.findings["rule"].to_pylist())
    edits = len(store.edits)
    if json:
        emit_json({"store": str(out), "images": len(store), "instances": cells, "near_duplicates": near, **store.info})
        return
    made = f"{count(len(store), 'image')} and {count(cells, 'cell')} of {len(stores)} data sets"
    compared = count(near, "near-duplicate pair") if similarity else "images not compared (--no-similarity)"
    say(f"{out}: {made}; {compared}" + (f"; {count(edits, 'edit')} from repairs kept" if edits else ""))
    if near:
        seen = f"select image_id, message from findings where rule = '{NEAR}'"
        say(f'see them: celltable query {shlex.quote(str(out))} "{seen}"')
    say(f"licence: {store.description.licence}" + (", non-commercial" if store.description.non_commercial else ""))
    each = "; ".join(f"{label}: {text or 'not stated'}" for label, text in store.description.licences.items())
    say(f"licences: {each}")
    for text in store.description.citation.split(" | "):
        say(f"cite: {text}")
