"""Convert instance rows to JSON and back, and apply edits to the instances table after verifying their before state."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from celltable import schema
from celltable.cells import Edit
from celltable.errors import StoreError
from celltable.words import plural

from ._tables import with_columns

Row = dict[str, Any]
Key = tuple[str, int]


def to_json(row: Mapping[str, Any]) -> str:
    """Write a row of the instances table as JSON: run lengths as ASCII text, packed polygons in base64.

    >>> to_json({"instance_id": 1, "rle": b"P84", "polygon": None})
    '{"instance_id":1,"rle":"P84"}'
    """
    plain: Row = {}
    for name, value in row.items():
        if value is None:
            continue
        if name == "rle":
            value = value.decode("ascii")
        elif isinstance(value, bytes):
            value = base64.b64encode(value).decode("ascii")
        plain[name] = value
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)


def from_json(text: str) -> Row:
    """Read a row that `to_json` wrote, with every column of the instances table."""
    stored = json.loads(text)
    row: Row = {name: stored.get(name) for name in schema.INSTANCES.names}
    row["rle"] = stored["rle"].encode("ascii")
    if row["polygon"] is not None:
        row["polygon"] = base64.b64decode(row["polygon"])
    return row


_SAME = ("image_id", "instance_id", "action", "repair", "rule", "reason", "value")


def edits_table(edits: Iterable[Edit]) -> pa.Table:
    """Convert edits to rows of the edits table, to be numbered by the store that applies them."""
    rows = [
        {
            **{name: getattr(e, name) for name in _SAME},
            "edit_id": n,
            "batch": 0,
            "before": None if e.before is None else to_json(e.before.to_arrow(e.image_id).to_pylist()[0]),
            "after": None if e.after is None else to_json(e.after.to_arrow(e.image_id).to_pylist()[0]),
        }
        for n, e in enumerate(edits, 1)
    ]
    return pa.Table.from_pylist(rows, schema=schema.EDITS)


def undone(edits: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Invert edits: reverse their order and exchange before and after."""
    opposite = {"add": "remove", "remove": "add", "replace": "replace"}
    return [{**e, "action": opposite[e["action"]], "before": e["after"], "after": e["before"]} for e in reversed(edits)]


def rewritten(edits: pa.Table, change: Callable[[pa.Table], pa.Table]) -> pa.Table:
    """Rewrite the edits that a derived store inherits: apply `change` to image ids and to cells before and after.

    `change` takes rows of the instances table and returns as many, in the same order.
    """
    columns: dict[str, list[Any]] = {"image_id": _changed_ids(edits, change)}
    for name in ("before", "after"):
        texts = edits.column(name).to_pylist()
        rows = [from_json(text) for text in texts if text is not None]
        new = iter(change(pa.Table.from_pylist(rows, schema=schema.INSTANCES)).to_pylist())
        columns[name] = [None if text is None else to_json(next(new)) for text in texts]
    return with_columns(edits, columns)


def _changed_ids(edits: pa.Table, change: Callable[[pa.Table], pa.Table]) -> list[str]:
    columns = (edits.column(name).to_pylist() for name in ("before", "after"))
    rows = [from_json(after or before) for before, after in zip(*columns, strict=True)]
    ids: list[str] = change(pa.Table.from_pylist(rows, schema=schema.INSTANCES)).column("image_id").to_pylist()
    return ids


def renumbered(tables: Sequence[pa.Table]) -> pa.Table:
    """Concatenate the edits of several stores with consecutive edit ids and batches, so that undo still works."""
    edits, batches = 0, 0
    made = []
    for table in tables:
        ids = [edits + 1 + n for n in range(table.num_rows)]
        own = [batches + batch for batch in table.column("batch").to_pylist()]
        edits, batches = edits + len(ids), max(own, default=batches)
        made.append(with_columns(table, {"edit_id": ids, "batch": own}))
    return pa.concat_tables([schema.empty("edits"), *made])


def apply_rows(instances: pa.Table, edits: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Apply edit rows in order to the instances table and return it; changed rows are at its end.

    Raises
    ------
    StoreError
        If a cell differs from the before state of its edit.
    """
    if not edits:
        return instances
    touched = {(e["image_id"], e["instance_id"]) for e in edits}
    place = _positions(instances, {image for image, _ in touched})
    where = {key: place[key] for key in touched if key in place}
    positions = sorted(where.values())
    texts = [to_json(row) for row in instances.take(pa.array(positions, pa.int64())).to_pylist()]
    by_position = dict(zip(positions, texts, strict=True))
    now: dict[Key, str | None] = {key: by_position.get(where.get(key, -1)) for key in touched}
    wrong = [e for e in edits if not _step(now, e)]
    if wrong:
        raise StoreError(_differs(wrong))
    changed = [from_json(text) for _, text in sorted(now.items()) if text is not None]
    keep = _without(instances.num_rows, positions)
    new = pa.Table.from_pylist(changed, schema=schema.INSTANCES)
    return pa.concat_tables([instances.filter(keep).cast(schema.INSTANCES), new])


def _positions(instances: pa.Table, images: Iterable[str]) -> dict[Key, int]:
    import numpy as np
    import pyarrow.compute as pc

    inside = pc.is_in(instances.column("image_id"), pa.array(sorted(images), pa.string()))
    rows = np.flatnonzero(inside.to_numpy())
    part = instances.select(["image_id", "instance_id"]).take(pa.array(rows, pa.int64()))
    keys = zip(part.column(0).to_pylist(), part.column(1).to_pylist(), strict=True)
    return dict(zip(keys, rows.tolist(), strict=True))


def _step(now: dict[Key, str | None], edit: Mapping[str, Any]) -> bool:
    """Apply one edit to the JSON rows; False if the cell differs from the edit's before state."""
    key = (edit["image_id"], edit["instance_id"])
    if not _same(now[key], edit["before"]):
        return False
    now[key] = edit["after"]
    return True


def _same(a: str | None, b: str | None) -> bool:
    return a == b or (a is not None and b is not None and from_json(a) == from_json(b))


def _differs(wrong: Sequence[Mapping[str, Any]]) -> str:
    first = wrong[0]
    state = "to be absent" if first["before"] is None else "as it was before the edit"
    many = f"{plural(len(wrong), 'cell')} {'is' if len(wrong) == 1 else 'are'}"
    return (
        f"{many} not as the edits expect, the first is cell {first['instance_id']} of image "
        f"{first['image_id']} (expected {state}). Nothing was changed: the edits belong to another copy or version of "
        "the data set, or the cells were edited since."
    )


def _without(n: int, positions: Sequence[int]) -> pa.Array:
    import numpy as np

    keep = np.ones(n, dtype=bool)
    keep[list(positions)] = False
    return pa.array(keep)
