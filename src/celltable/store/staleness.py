"""Decide which findings no longer hold because edits have changed their cells.

A finding concerns a cell, or the cells of an image (its `generation` says in which state; findings about pixels or the
release have none). It becomes stale when its cell changes, when the cells of its image change, or when a repair for its
rule ran on its image (the finding of an overlap names only one of the two cells).
"""

from __future__ import annotations

import pyarrow as pa

from ._tables import with_columns


def after_edits(findings: pa.Table, edits: pa.Table) -> pa.Table:
    """Mark the findings that no longer hold after edits; findings made after an edit still hold.

    Parameters
    ----------
    findings, edits
        Rows of both tables; `generation` of an edit is the counter of the generation that applied it.
    """
    numbers = edits.column("generation").to_pylist()
    for number in sorted({n for n in numbers if n is not None}):
        batch = edits.filter(pa.array([n == number for n in numbers], pa.bool_()))
        columns = (findings.column("stale").to_pylist(), _touched(findings, batch), _made(findings))
        stale = [number if old is None and hit and on < number else old for old, hit, on in zip(*columns, strict=True)]
        findings = with_columns(findings, {"stale": stale})
    return findings


def after_undo(findings: pa.Table, taken_back: pa.Table, undone: int) -> pa.Table:
    """Revive the findings that an undone batch had made stale, and mark those made on the cells after that batch.

    Parameters
    ----------
    findings
        Rows of the findings table.
    taken_back
        The inverse edits; their `generation` is that of the undo operation.
    undone
        The generation of the batch.
    """
    number = max(taken_back.column("generation").to_pylist(), default=0)
    stale: list[int | None] = []
    columns = (findings.column("stale").to_pylist(), _touched(findings, taken_back), _made(findings))
    for old, hit, on in zip(*columns, strict=True):
        if hit and old == undone:
            stale.append(None)
        else:
            stale.append(number if hit and old is None and on >= undone else old)
    return with_columns(findings, {"stale": stale})


def _made(findings: pa.Table) -> list[int]:
    return [made or 0 for made in findings.column("generation").to_pylist()]


def _touched(findings: pa.Table, edits: pa.Table) -> list[bool]:
    """Tell for each finding whether the edits changed what it is about."""
    images = set(edits.column("image_id").to_pylist())
    cells = set(zip(edits.column("image_id").to_pylist(), edits.column("instance_id").to_pylist(), strict=True))
    mended = set(zip(edits.column("image_id").to_pylist(), edits.column("rule").to_pylist(), strict=True))
    names = ("image_id", "instance_id", "rule", "generation")
    rows = zip(*(findings.column(name).to_pylist() for name in names), strict=True)
    return [
        image in images
        and ((image, rule) in mended or (generation is not None if cell is None else (image, cell) in cells))
        for image, cell, rule, generation in rows
    ]
