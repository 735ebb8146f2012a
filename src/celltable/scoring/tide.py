"""TIDE's matching of one image, and its AP: why each detection is wrong, and what fixing one type of error gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from celltable._native import matching
from celltable.plugins.metric import Mode

from .means import divided
from .pair import Pair
from .side import Side

Floats = NDArray[np.float64]
ERRORS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
RIGHT, WRONG, IGNORED = 1, 0, -1
RECALLS = np.array([x / 100 for x in range(101)])


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """The detections of one image by decreasing score, and its cells.

    Attributes
    ----------
    names, scores, used
        Class, score and 1 right, 0 wrong, -1 ignored of each detection.
    error, fixed
        Index into ERRORS (-1: none), and the class in which the detection would be right if its error were fixed
        (None: it would be gone).
    gt_names, gt_used, gt_missed
        Class of each cell, whether a detection took it, and whether no fixed error finds it.
    """

    names: list[str]
    scores: Floats
    used: NDArray[np.int8]
    error: NDArray[np.int8]
    fixed: list[str | None]
    gt_names: list[str]
    gt_used: NDArray[np.bool_]
    gt_missed: NDArray[np.bool_]


def verdicts(pair: Pair, mode: Mode, pos: float, bg: float, max_dets: int | None) -> Verdicts:
    """Match one image and classify the errors."""
    scores = pair.ranking_scores
    order = np.argsort(-scores, kind="stable")[: len(scores) if max_dets is None else max_dets]
    region = _regions(pair.gt, mode)
    rows = _rows(pair)
    gt_names, names = _names(pair.gt), _names(pair.pred)
    used, taken = _match(order, rows, names, gt_names, region, pos)
    for k, d in enumerate(order.tolist()):
        inside = any(region[g] and over > pos and gt_names[g] in (names[d], "") for g, _, over in rows[d])
        if used[k] == WRONG and inside:
            used[k] = IGNORED
    error = np.full(len(order), -1, np.int8)
    fixed: list[str | None] = [None] * len(order)
    usable: set[int] = set()
    cells = bool((~region).any())
    for k, d in enumerate(order.tolist()):
        if used[k] == RIGHT:
            continue
        near = [(g, iou) for g, iou, _ in rows[d] if not region[g]]
        kind, at = _error(near, names[d], gt_names, taken, pos, bg) if cells else ("Bkg", -1)
        error[k] = ERRORS.index(kind)
        if at >= 0 and at not in taken and at not in usable:  # only the best-scored error of a cell is fixed
            usable.add(at)
            fixed[k] = gt_names[at] if kind == "Cls" else names[d]
    kept = np.flatnonzero(~region)
    gt_used = np.array([g in taken for g in kept.tolist()], bool)
    missed = np.array([g not in taken and g not in usable for g in kept.tolist()], bool)
    ranked = [names[d] for d in order.tolist()]
    return Verdicts(ranked, scores[order], used, error, fixed, [gt_names[g] for g in kept.tolist()], gt_used, missed)


def _regions(side: Side, mode: Mode) -> NDArray[np.bool_]:
    if mode == "corrected":
        return side.flags
    return np.zeros(len(side), bool) if side.crowd is None else side.crowd


def _names(side: Side) -> list[str]:
    if side.class_codes is None:
        return [""] * len(side)
    return [side.class_names[c] if c >= 0 else "" for c in side.class_codes.tolist()]


def _rows(pair: Pair) -> list[list[tuple[int, float, float]]]:
    """List the cells that each prediction overlaps, ascending: position, IoU, overlap over own area."""
    table = pair.overlap
    gt, dt, c = table.gt_index, table.pred_index, table.intersection
    own = table.pred_areas[dt]
    iou, over = c / (table.gt_areas[gt] + own - c), c / own
    rows: list[list[tuple[int, float, float]]] = [[] for _ in range(len(pair.pred))]
    order = np.lexsort((gt, dt))
    columns = (dt[order].tolist(), gt[order].tolist(), iou[order].tolist(), over[order].tolist())
    for d, g, i, o in zip(*columns, strict=True):
        rows[d].append((g, i, o))
    return rows


def _match(
    order: NDArray[np.intp],
    rows: Sequence[Sequence[tuple[int, float, float]]],
    names: Sequence[str],
    gt_names: Sequence[str],
    region: NDArray[np.bool_],
    pos: float,
) -> tuple[NDArray[np.int8], set[int]]:
    """Give each detection the free cell of its class that it overlaps most, if their IoU reaches `pos`."""
    used, taken = np.zeros(len(order), np.int8), set[int]()
    for k, d in enumerate(order.tolist()):
        free = [(g, i) for g, i, _ in rows[d] if not region[g] and g not in taken and gt_names[g] == names[d]]
        at, iou = _most(free)
        if at >= 0 and iou >= pos:
            used[k] = RIGHT
            taken.add(at)
    return used, taken


def _most(pairs: Sequence[tuple[int, float]]) -> tuple[int, float]:
    """Return the largest, the first of equal ones."""
    return max(pairs, key=lambda p: p[1]) if pairs else (-1, 0.0)


def _error(
    near: Sequence[tuple[int, float]], name: str, gt_names: Sequence[str], taken: set[int], pos: float, bg: float
) -> tuple[str, int]:
    """Return the type of error and the cell that fixing it would find (-1: none)."""
    same = [p for p in near if gt_names[p[0]] == name]
    at, iou = _most(same)
    if bg <= iou <= pos:
        return "Loc", at
    at, iou = _most([p for p in near if gt_names[p[0]] != name])
    if at >= 0 and iou >= pos:
        return "Cls", at
    if _most([p for p in same if p[0] in taken])[1] >= pos:
        return "Dupe", -1
    return ("Bkg" if _most(near)[1] <= bg else "Both"), -1


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """Points of a precision-recall curve, in the order in which TIDE pushes them."""

    names: list[str]
    scores: Floats
    right: NDArray[np.bool_]


def mean_ap(points: _Points, cells: dict[str, int]) -> float:
    """Compute the 101-point AP in percent, averaged over classes with detections or cells."""
    order = dict.fromkeys([*points.names, *cells])
    names = np.array(points.names, np.str_)
    values = []
    for name in order:
        mask = names == name if len(names) else np.zeros(0, bool)
        if mask.any() or cells.get(name, 0):
            values.append(_ap(points.scores[mask], points.right[mask], cells.get(name, 0)))
    return sum(values) / len(values) if values else float("nan")


def _ap(scores: Floats, right: NDArray[np.bool_], cells: int) -> float:
    if not cells:
        return 0.0
    right = right[np.argsort(-scores, kind="stable")]
    true = np.cumsum(right)
    precision = true / np.arange(1, len(true) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(true / cells, RECALLS, side="left")
    bars = [float(precision[k]) if k < len(precision) else 0.0 for k in at.tolist()]
    return sum(bars) / len(bars) * 100


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """The verdicts of all images, concatenated."""

    names: list[str]
    scores: Floats
    used: NDArray[np.int8]
    error: NDArray[np.int8]
    fixed: list[str | None]
    cells: dict[str, int]
    missed: dict[str, int]
    unfound: dict[str, int]

    @classmethod
    def of(cls, images: Sequence[Verdicts]) -> Pooled:
        """Join the images."""
        cells: dict[str, int] = {}
        missed: dict[str, int] = {}
        unfound: dict[str, int] = {}
        for v in images:
            for name, used, lost in zip(v.gt_names, v.gt_used.tolist(), v.gt_missed.tolist(), strict=True):
                cells[name] = cells.get(name, 0) + 1
                missed[name] = missed.get(name, 0) + lost
                unfound[name] = unfound.get(name, 0) + (not used)
        return cls(
            [n for v in images for n in v.names],
            np.concatenate([v.scores for v in images]) if images else np.zeros(0),
            np.concatenate([v.used for v in images]) if images else np.zeros(0, np.int8),
            np.concatenate([v.error for v in images]) if images else np.zeros(0, np.int8),
            [m for v in images for m in v.fixed],
            cells,
            missed,
            unfound,
        )

    def base(self) -> float:
        """Compute AP without fixing any errors."""
        kept = self.used != IGNORED
        return mean_ap(self._points(np.flatnonzero(kept).tolist(), self.names, self.used == RIGHT), self.cells)

    def _points(self, rows: Sequence[int], names: Sequence[Any], right: NDArray[np.bool_]) -> _Points:
        return _Points([names[k] for k in rows], self.scores[list(rows)], right[list(rows)])

    def without(self, kind: str) -> float:
        """Compute AP with all errors of one type fixed."""
        code = ERRORS.index(kind)
        names: list[Any] = list(self.names)
        right = self.used == RIGHT
        rows = []
        for k in np.flatnonzero(self.error >= 0).tolist():
            if self.error[k] == code:
                if self.fixed[k] is None or kind not in ("Cls", "Loc"):
                    continue
                names[k], right[k] = self.fixed[k], True
            elif self.used[k] == IGNORED:
                continue
            rows.append(k)
        rows += np.flatnonzero(self.used == RIGHT).tolist()
        cells = self.cells
        if kind == "Miss":
            cells = {name: n - self.missed[name] for name, n in cells.items()}
        return mean_ap(self._points(rows, names, right), cells)

    def special(self) -> tuple[float, float]:
        """Compute AP without false positives (ranked last), and AP without false negatives."""
        kept = self.used != IGNORED
        right = self.used == RIGHT
        last = _Points([n for n, k in zip(self.names, kept.tolist(), strict=True) if k], right[kept] * 1.0, right[kept])
        fewer = {name: n - self.unfound[name] for name, n in self.cells.items()}
        rows = [*np.flatnonzero(kept & ~right).tolist(), *np.flatnonzero(right).tolist()]
        return mean_ap(last, self.cells), mean_ap(self._points(rows, self.names, right), fewer)

    def counts(self) -> dict[str, int]:
        """Count the errors of each type."""
        numbers = {kind: int((self.error == k).sum()) for k, kind in enumerate(ERRORS)}
        return numbers | {"Miss": sum(self.missed.values())}


def resample(images: Sequence[Verdicts], weights: NDArray[Any]) -> Floats:
    """Compute AP if image i counts weights[b, i] times, as `Pooled.base` of so many copies would; float64 (B,)."""
    order = {name: k for k, name in enumerate(dict.fromkeys(n for v in images for n in [*v.names, *v.gt_names]))}
    n_gt, found = np.zeros((2, len(images), max(len(order), 1)), np.int64)
    category = np.array([order[n] for v in images for n in v.names], np.int32)
    image = np.repeat(np.arange(len(images), dtype=np.int32), [len(v.names) for v in images])
    used = np.concatenate([v.used for v in images]) if images else np.zeros(0, np.int8)
    np.add.at(found, (image[used != IGNORED], category[used != IGNORED]), 1)
    for k, v in enumerate(images):
        np.add.at(n_gt[k], np.array([order[n] for n in v.gt_names], np.int64), 1)
    rows = np.ascontiguousarray(weights, np.int64)
    precision, _ = matching.resample(
        score=np.concatenate([v.scores for v in images]) if images else np.zeros(0),
        category=category,
        image=image,
        codes=np.where(used == IGNORED, 2, used).astype(np.uint8)[None],
        n_gt=n_gt,
        weights=rows,
        recalls=RECALLS,
        spacing=0.0,
        threads=1,
    )
    bars = np.add.accumulate(np.maximum(precision[:, 0], 0.0), axis=1)[:, -1]  # one after another, as sum() adds
    there = (rows @ (found + n_gt)) > 0
    return np.asarray(divided((bars / len(RECALLS) * 100 * there).sum(axis=1), there.sum(axis=1)), np.float64)
