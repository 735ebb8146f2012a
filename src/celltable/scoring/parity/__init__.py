"""Parity with the official numbers: shipped vectors run against this installation, protocol by protocol.

cases.npz holds generated label maps, and references.json what stardist, pycocotools and scikit-learn computed from them
(made by tools/make-parity-vectors). ``vectors/NAME.json`` beside each metric holds tiny label maps that test one rule
each (a tie, an empty image, an absent class), with the result worked out by hand from the published definition.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable import plugins
from celltable.errors import CelltableError, InputError
from celltable.plugins.metric import Metric

from ..arrays import pairs_from_arrays
from ..engine import score_pairs
from ..pair import Pair
from ..side import Side
from ..text import table

FLOAT32, ORDER = 2e-6, 4e-16  # stardist computes in float32; sums taken in another order


@dataclass(frozen=True, slots=True)
class Row:
    """One protocol against one reference.

    `cases` were run and `values` numbers compared; `largest_difference` is relative for numbers over 1, and infinite
    if one side is undefined and the other is not; `ok` says whether it is within `tolerance`.
    """

    protocol: str
    reference: str
    cases: int
    values: int
    largest_difference: float
    tolerance: float
    ok: bool
    worst: str = ""


@dataclass(frozen=True, slots=True)
class Parity:
    """The rows of a run; `print` shows a table, `ok` says whether every protocol is within its tolerance."""

    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ok(self) -> bool:
        """Whether every row is within its tolerance."""
        return all(row.ok for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {"ok": self.ok, "rows": [asdict(row) for row in self.rows]}

    def __str__(self) -> str:
        head = ("protocol", "reference", "cases", "numbers", "largest difference", "tolerance", "")
        lines = table(head, [_cells(row) for row in self.rows], right=(2, 3, 4, 5))
        bad = sum(not row.ok for row in self.rows)
        return "\n".join([*lines, "", f"{bad} of {len(self.rows)} rows differ." if bad else "All within tolerance."])


def _cells(row: Row) -> tuple[str, ...]:
    numbers = (str(row.cases), str(row.values), f"{row.largest_difference:.1e}", f"{row.tolerance:.0e}")
    return row.protocol, row.reference, *numbers, "ok" if row.ok else f"DIFFERS: {row.worst}"


Compared = tuple[str, Any, Any]  # what, found, expected


def parity() -> Parity:
    """Run all shipped vectors; one row per protocol and reference."""
    rows = []
    for protocol, reference, tolerance, run in _checks():
        try:
            rows.append(_row(protocol, reference, tolerance, list(run)))
        except CelltableError as exc:
            rows.append(Row(protocol, reference, 0, 0, math.inf, tolerance, False, str(exc)))
    return Parity(tuple(rows))


def _checks() -> Iterator[tuple[str, str, float, Iterator[Compared]]]:
    refs = _load("references.json")
    versions = refs["versions"]
    stardist = f"stardist {versions['stardist']}"
    yield "ap_stardist", f"{stardist} matching", FLOAT32, _stardist(refs)
    yield "ap_stardist", f"{stardist} matching_dataset", FLOAT32, _stardist_dataset(refs)
    names = plugins.names("metrics")
    for family, kind in (("coco", "coco"), ("livecell", "livecell")):
        for quantity in ("ap", "ar"):
            name = f"{quantity}_{family}"
            if name in names:
                reference = f"pycocotools {versions['pycocotools']}"
                yield name, reference, ORDER, _coco(name, quantity.upper(), refs[kind])
    yield "counts_livecell", f"scikit-learn {versions['scikit-learn']} r2_score", 1e-15, _counts(refs["counts"])
    for name in names:
        if plugins.beside("metrics", name, f"vectors/{name}.json").exists():
            yield name, "rules worked out by hand", ORDER, worked(name)


def _row(protocol: str, reference: str, tolerance: float, compared: Sequence[Compared]) -> Row:
    gaps = [(max(_gap(f, e) for f, e in _flat(found, expected)), what) for what, found, expected in compared]
    values = sum(sum(1 for _ in _flat(found, expected)) for _, found, expected in compared)
    largest, worst = max(gaps, default=(math.inf, "no vector was run"))
    return Row(protocol, reference, len(compared), values, largest, tolerance, largest <= tolerance, worst)


def _flat(found: Any, expected: Any) -> Iterator[tuple[float, float]]:
    a, b = np.ravel(np.asarray(found, np.float64)), np.ravel(np.asarray(expected, np.float64))
    if a.shape != b.shape:
        yield math.nan, 0.0
        return
    yield from zip(a.tolist(), b.tolist(), strict=True)


def _gap(found: float, expected: float) -> float:
    if math.isnan(found) and math.isnan(expected):
        return 0.0
    if math.isnan(found) or math.isnan(expected):
        return math.inf
    return abs(found - expected) / max(1.0, abs(expected))


@cache
def _load(name: str) -> Any:
    return json.loads(resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))


@cache
def _maps() -> dict[str, NDArray[Any]]:
    with resources.files(__name__).joinpath("cases.npz").open("rb") as stream, np.load(stream) as data:
        return {name: data[name] for name in data.files}


def _pair(name: str, image_id: str = "1", *, scores: bool = False) -> Pair:
    gt, pred = _maps()[f"{name}.gt"], _maps()[f"{name}.pred"]
    columns = {}
    if scores:
        by_label = _maps()[f"{name}.scores"]
        columns["scores"] = by_label[np.unique(pred)[np.unique(pred) > 0]]
    size = (int(gt.shape[0]), int(gt.shape[1]))
    return Pair(image_id, size, Side.from_label_map(gt), Side.from_label_map(pred, **columns))


def _fields(name: str, pairs: list[Pair], mode: str = "strict", **options: Any) -> Any:
    metric: Metric = plugins.load("metrics", name)
    return score_pairs(metric, pairs, mode, **options).fields  # type: ignore[arg-type]


def _stardist(refs: Any) -> Iterator[Compared]:
    thresholds = tuple(refs["thresholds"])
    for case, criteria in refs["stardist"].items():
        for criterion, expected in criteria.items():
            found = _fields("ap_stardist", [_pair(case)], thresholds=thresholds, criterion=criterion)
            yield f"{case}, {criterion}", [found[k] for k in expected], list(expected.values())


def _stardist_dataset(refs: Any) -> Iterator[Compared]:
    pairs = [_pair(case, str(k)) for k, case in enumerate(refs["stardist"])]
    found = _fields("ap_stardist", pairs, thresholds=tuple(refs["thresholds"]))
    for by_image, expected in refs["stardist_dataset"].items():
        of = found["by_image"] if by_image == "True" else found
        yield f"by_image={by_image}", [of[k] for k in expected], list(expected.values())


def _coco(name: str, prefix: str, expected: dict[str, float]) -> Iterator[Compared]:
    cases = sorted({k.split(".")[0] for k in _maps() if k.startswith("ellipses")})
    found = _fields(name, [_pair(case, str(k), scores=True) for k, case in enumerate(cases, 1)])
    for key, value in expected.items():
        if key.startswith(prefix) and key in found:
            yield key, found[key], value


def _counts(expected: Any) -> Iterator[Compared]:
    metric: Metric = plugins.load("metrics", "counts_livecell")
    numbers = list(zip(expected["true"], expected["pred"], strict=True))
    yield "R2 below 1600", metric.pool(numbers, "strict", below=1600).fields["R2"], expected["R2"]


def worked(name: str) -> Iterator[Compared]:
    """Score the vectors beside a metric: (what, number found, number worked out by hand).

    The file ``vectors/NAME.json`` is a list of cases. Each has ``what`` (a few words), ``images`` (``gt`` and ``pred``
    as label maps; ``scores``, ``gt_classes``, ``pred_classes`` per cell and ``meta`` where the metric needs them) and
    ``expected`` (field of the result → number, null for NaN); ``mode`` ("strict" unless given), ``options`` and
    ``class_names`` are optional.

    Raises
    ------
    InputError
        If the file is missing or is not JSON.
    """
    path = plugins.beside("metrics", name, f"vectors/{name}.json")
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise InputError(f"{path}: {exc}; expected the vectors of the metric {name}, a JSON list of cases.") from exc
    for case in cases:
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in case.get("options", {}).items()}
        found = _fields(name, _pairs_of(case), case.get("mode", "strict"), **options)
        for key, value in case["expected"].items():
            yield f"{case['what']}: {key}", found.get(key, np.nan), np.nan if value is None else value


def _pairs_of(case: Mapping[str, Any]) -> list[Pair]:
    images = case["images"]
    typed = "gt_classes" in images[0]
    return pairs_from_arrays(
        [np.asarray(i["gt"]) for i in images],
        [np.asarray(i["pred"]) for i in images],
        classes=([i["gt_classes"] for i in images], [i["pred_classes"] for i in images]) if typed else None,
        scores=[i["scores"] for i in images] if "scores" in images[0] else None,
        class_names=case.get("class_names", ()),
        meta=[i.get("meta", {}) for i in images],
    )
